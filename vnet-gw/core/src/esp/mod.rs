//! ESP in tunnel mode (RFC 4303).
