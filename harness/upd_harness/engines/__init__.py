"""Where work is carried out that can be divided: in processes of this machine, or on a Ray cluster."""
