"""Brain scans brought into one space: whole heads lose what is not brain, and every brain lies on a template's grid."""
