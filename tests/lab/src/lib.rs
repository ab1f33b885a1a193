//! Network namespace lab.
