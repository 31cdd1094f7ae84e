"""What is wrong with a machine or with prepared stores."""
