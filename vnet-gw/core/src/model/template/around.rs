//! What surrounds an expression: the loops it is in, the variables of its lambdas, the function of
//! the template's own, and the running deployment, where there is one.

use std::rc::Rc;

use serde_json::Value;

use super::evaluate::invalid;
use crate::model::{ArmError, error::cut};

/// The deployment that is being carried out, as `reference()` asks it.
pub(crate) trait Runtime {
    /// The properties of a resource, by its id or by its name in the template; all of it with
    /// `full`.
    ///
    /// # Errors
    ///
    /// Also where that resource's turn has not come: then [`is_waiting`](Self::is_waiting).
    fn reference(&self, resource: &str, full: bool) -> Result<Value, ArmError>;

    /// Whether the last error says that another resource comes first.
    fn is_waiting(&self) -> bool;
}

/// Of a function: names and values.
type Arguments = Rc<Vec<(String, Value)>>;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Around<'c> {
    /// Name and index, innermost last.
    loops: Vec<(String, usize)>,
    locals: Vec<(String, Rc<Value>)>,
    /// The arguments of the function, and how many functions are around it.
    arguments: Option<(Arguments, usize)>,
    runtime: Option<&'c dyn Runtime>,
}

impl<'c> Around<'c> {
    /// Inside one more copy loop.
    pub(super) fn with(&self, name: &str, index: usize) -> Self {
        let mut inner = self.clone();
        inner.loops.push((name.to_owned(), index));
        inner
    }

    /// Inside a lambda.
    pub(super) fn with_local(mut self, name: &str, value: Value) -> Self {
        self.locals.push((name.to_owned(), Rc::new(value)));
        self
    }

    /// Inside a function of the template's own, which sees only what it is given; nothing where
    /// too many functions are around it.
    pub(super) fn within_function(
        &self,
        arguments: Vec<(String, Value)>,
        most: usize,
    ) -> Option<Self> {
        let depth = self.arguments.as_ref().map_or(0, |(_, depth)| *depth) + 1;
        (depth <= most).then(|| Self {
            arguments: Some((Rc::new(arguments), depth)),
            ..Self::default()
        })
    }

    /// Inside a deployment that is carried out.
    pub(crate) fn during<'d>(&self, runtime: &'d dyn Runtime) -> Around<'d>
    where
        'c: 'd,
    {
        Around {
            runtime: Some(runtime),
            ..self.clone()
        }
    }

    pub(super) fn runtime(&self) -> Option<&'c dyn Runtime> {
        self.runtime
    }

    /// Whether an error only says that another resource comes first.
    pub(super) fn is_waiting(&self) -> bool {
        self.runtime.is_some_and(Runtime::is_waiting)
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

    pub(super) fn local(&self, name: &str) -> Option<&Value> {
        let mut locals = self.locals.iter().rev();
        locals
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }

    /// Inside a function, what `parameters()` means; nothing outside.
    pub(super) fn argument(&self, name: &str) -> Option<Result<&Value, ArmError>> {
        let (arguments, _) = self.arguments.as_ref()?;
        let found = arguments.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        Some(found.map(|(_, value)| value).ok_or_else(|| {
            invalid(format!(
                "The function has no parameter '{}': declare it.",
                cut(name)
            ))
        }))
    }

    pub(super) fn in_function(&self) -> bool {
        self.arguments.is_some()
    }
}
