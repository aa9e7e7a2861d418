"""Jobs on OpenI and ModelArts."""
