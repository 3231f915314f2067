"""SQL of the Supabase wire: uploaded objects, and reads of `model_metadata`."""
