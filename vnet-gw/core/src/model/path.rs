//! Where a value stands in a template or a document; made into text only for an error.

use std::fmt;

use super::error::cut;

/// A path that borrows its steps: a route among a million costs nothing.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root(&'p str),
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub(super) fn key(&'p self, name: &'p str) -> Path<'p> {
        Path::Key(self, name)
    }

    pub(super) fn index(&'p self, index: usize) -> Path<'p> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(text) => f.write_str(text),
            Path::Key(Path::Root(""), name) => f.write_str(&cut(name)),
            Path::Key(parent, name) => write!(f, "{parent}.{}", cut(name)),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
