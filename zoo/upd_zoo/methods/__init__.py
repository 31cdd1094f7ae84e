"""The methods of the study, one file each, named as in the paper."""
