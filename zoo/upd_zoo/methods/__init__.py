"""The methods, one file each, named as in their papers: the thirteen of the study, and one that is not in it."""
