//! Sets of changes, from outside.

mod single;
mod support;
mod what_if;
