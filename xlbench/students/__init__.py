"""Students: stock transformers encoders with parts exchanged."""
