"""What files of gridded frames mean by the CF conventions: roles, times, missing values, units."""
