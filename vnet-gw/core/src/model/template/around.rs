//! What surrounds an expression: the loops it is in.

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Around {
    /// Name and index, innermost last.
    loops: Vec<(String, usize)>,
}

impl Around {
    /// Inside one more copy loop.
    pub(super) fn with(&self, name: &str, index: usize) -> Self {
        let mut inner = self.clone();
        inner.loops.push((name.to_owned(), index));
        inner
    }

    /// The index of the named loop, or of the innermost one.
    pub(super) fn index(&self, name: Option<&str>) -> Option<usize> {
        let mut loops = self.loops.iter().rev();
        match name {
            Some(name) => loops.find(|(n, _)| n.eq_ignore_ascii_case(name)),
            None => loops.next(),
        }
        .map(|(_, index)| *index)
    }
}
