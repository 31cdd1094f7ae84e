"""What a run found: pictures, pages and text for people, records for programs."""
