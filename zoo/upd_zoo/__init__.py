"""upd-zoo: ready models for unsupervised pathology detection."""
