"""YAML files as typed values: one loader (`load`), the types of a device profile, their JSON Schema."""
