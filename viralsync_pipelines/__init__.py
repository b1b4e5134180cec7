"""ViralSync Pipelines: a movie JSON goes in, a finished short film comes out, every step of it a Dagster job."""
