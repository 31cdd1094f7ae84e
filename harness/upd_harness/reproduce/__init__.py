"""Tables and figures of the study, ours beside what it printed.

    table-i             images of every store
    table-ii … table-v  how good every method is, judged cell by cell
    table-vi            how fast every method is, and how large
    fig-1               how large lesions are, and how bright
    fig-2               Dice against both
    fig-3               a diseased image of each test set, by lot
    fig-4               models that learnt from a share of the subjects

What is reproduced comes from the prepared stores that stand and from models that are there; what is missing is named,
and made where that is asked for. `items` holds them all.
"""
