"""The program `upd-zoo`: one file per command."""
