"""Reading and writing of array, image and record files."""
