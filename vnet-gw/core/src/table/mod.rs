//! BPF table images.
