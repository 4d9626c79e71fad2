"""What every data set is prepared by: raw files to encoders fitted on train, and blocks of rows."""
