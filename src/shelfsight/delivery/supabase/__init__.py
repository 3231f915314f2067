"""The wire of Supabase's public clients: storage, and reads of `model_metadata`, under the paths that they ask."""
