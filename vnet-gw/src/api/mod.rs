//! Azure Resource Manager's REST API over HTTPS and a Unix socket (`azure-semantics.md`, D).
