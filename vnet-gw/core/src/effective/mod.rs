//! Effective routes.
