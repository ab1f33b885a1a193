//! Evaluates template expressions, and unrolls property copies.

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
};

use serde_json::Value;

use super::{
    expression::{self, Expression, Text},
    functions,
    node::{Fields, Node},
};
use crate::model::{
    ArmError, DeployOptions,
    error::cut,
    hidden::{Hidden, is_key},
};

/// Iterations of all copies of a template: a count too many by mistake must not take all memory.
const MAX_ITERATIONS: usize = 2_000_000;

/// Of what is a key, and so not shown.
const NO_EXPRESSION: &str = "What stands between the brackets cannot be read, and is not shown \
    here: correct the expression, or double the first bracket of a key that is none.";

/// Variables that use variables that use variables: deeper is an attack on the stack.
const MAX_CHAIN: usize = 64;

/// Parameters, variables and the deployment's own values; each is evaluated once, when first used.
pub(super) struct Evaluator<'t> {
    pub(super) options: &'t DeployOptions,
    /// What the errors must not show.
    pub(super) hidden: &'t Hidden,
    pub(super) parameters: BTreeMap<String, Parameter<'t>>,
    pub(super) variables: BTreeMap<String, Lazy<'t>>,
    /// Parameters and variables being evaluated, to find one that uses itself.
    active: RefCell<Vec<String>>,
    iterations: Cell<usize>,
}

/// A parameter: the value of the deployment, or the default of the template.
pub(super) enum Parameter<'t> {
    Given(&'t Value),
    /// None is given, and none is needed.
    Null,
    Default(Lazy<'t>),
    /// Neither: an error where it is used.
    Missing,
}

pub(super) struct Lazy<'t> {
    source: Cow<'t, Node<'t>>,
    value: OnceCell<Value>,
    /// The default of a secure parameter.
    secure: bool,
}

impl<'t> Lazy<'t> {
    pub(super) fn new(source: Cow<'t, Node<'t>>) -> Self {
        Self {
            source,
            value: OnceCell::new(),
            secure: false,
        }
    }

    pub(super) fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }
}

/// The copy loops around an expression, innermost last.
#[derive(Clone, Default)]
pub(super) struct Loops(Vec<(String, usize)>);

impl Loops {
    pub(super) fn with(&self, name: &str, index: usize) -> Self {
        let mut inner = self.clone();
        inner.0.push((name.to_owned(), index));
        inner
    }

    /// The index of the named loop, or of the innermost one.
    pub(super) fn index(&self, name: Option<&str>) -> Option<usize> {
        let mut loops = self.0.iter().rev();
        match name {
            Some(name) => loops.find(|(n, _)| n.eq_ignore_ascii_case(name)),
            None => loops.next(),
        }
        .map(|(_, index)| *index)
    }
}

/// An `InvalidTemplate` error whose path is still to come.
pub(super) fn invalid(message: impl Into<String>) -> ArmError {
    ArmError::new("InvalidTemplate", message)
}

/// Two of one name: which one counts would be a guess.
pub(super) fn twice() -> ArmError {
    invalid("The name is there twice: rename or remove one.")
}

/// Puts a step of the path before what the error has.
pub(super) fn within(mut error: ArmError, step: &str) -> ArmError {
    let rest = error.target.take().unwrap_or_default();
    error.target = Some(format!("{}{rest}", cut(step)));
    error
}

impl<'t> Evaluator<'t> {
    pub(super) fn new(options: &'t DeployOptions, hidden: &'t Hidden) -> Self {
        Self {
            options,
            hidden,
            parameters: BTreeMap::new(),
            variables: BTreeMap::new(),
            active: RefCell::default(),
            iterations: Cell::new(0),
        }
    }

    /// Evaluates every string of a value, in place.
    pub(super) fn evaluate(&self, node: &mut Node<'_>, loops: &Loops) -> Result<(), ArmError> {
        match node {
            // Nearly every string is a literal; none is copied.
            Node::Text(text) if text.starts_with('[') => {
                *node = match expression::classify(text) {
                    Text::Literal(literal) => Node::Text(literal.to_owned().into()),
                    Text::Expression(source) => self.run(source, loops)?.into_owned().into(),
                };
            }
            Node::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.evaluate(item, loops)
                        .map_err(|e| within(e, &format!("[{index}]")))?;
                }
            }
            Node::Object(fields) => {
                self.property_copies(fields, loops)?;
                for (name, item) in fields.iter_mut() {
                    let result = if is_key(name) {
                        self.evaluate_key(item, loops)
                    } else {
                        self.evaluate(item, loops)
                    };
                    result.map_err(|e| within(e, &format!(".{name}")))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The same of what is a key.
    fn evaluate_key(&self, node: &mut Node<'_>, loops: &Loops) -> Result<(), ArmError> {
        let result = self.hidden.during(true, || self.evaluate(node, loops));
        if result.is_ok() {
            self.hidden.value(&node.to_value());
        }
        result
    }

    /// `copy: [{name, count, input}]` in an object becomes arrays of it.
    fn property_copies(&self, fields: &mut Fields<'_>, loops: &Loops) -> Result<(), ArmError> {
        let Some(copies) = take_copies(fields) else {
            return Ok(());
        };
        for (number, mut copy) in copies.into_iter().enumerate() {
            let path = format!(".copy[{number}]");
            let input = copy.take("input").unwrap_or_default();
            let (name, count) = self
                .copy_loop(&mut copy, loops)
                .map_err(|error| within(error, &path))?;
            if fields.get(&name).is_some() {
                return Err(twice().at(format!("{path}.name")));
            }
            let mut items = Vec::with_capacity(count);
            for index in 0..count {
                let mut item = input.clone();
                self.evaluate(&mut item, &loops.with(&name, index))
                    .map_err(|error| within(error, &format!("{path}.input")))?;
                items.push(shield(item));
            }
            fields.insert(name, Node::Array(items));
        }
        Ok(())
    }

    /// Name and count of a copy, counted against the limit.
    pub(super) fn copy_loop(
        &self,
        copy: &mut Fields<'_>,
        loops: &Loops,
    ) -> Result<(String, usize), ArmError> {
        for (name, value) in copy.iter_mut() {
            self.evaluate(value, loops)
                .map_err(|error| within(error, &format!(".{name}")))?;
        }
        let Some(name) = copy.get("name").and_then(Node::as_str) else {
            return Err(invalid("A copy needs a name: add a string.").at(".name"));
        };
        let count = match copy.get("count") {
            Some(Node::Number(count)) => count.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        let total = count.and_then(|count| self.iterations.get().checked_add(count));
        match (count, total) {
            (Some(count), Some(total)) if total <= MAX_ITERATIONS => {
                self.iterations.set(total);
                Ok((name.to_owned(), count))
            }
            (None, _) => {
                Err(invalid("The count must be an integer of 0 or more: correct it.").at(".count"))
            }
            _ => Err(invalid(format!(
                "All copies together may have {MAX_ITERATIONS} iterations: lower the count."
            ))
            .at(".count")),
        }
    }

    fn run(&self, source: &str, loops: &Loops) -> Result<Cow<'_, Value>, ArmError> {
        let expression = expression::parse(source).map_err(|error| {
            if self.hidden.within_key() {
                self.hidden.text(source);
                return invalid(NO_EXPRESSION);
            }
            invalid(format!(
                "The expression [{}] cannot be read: {error}.",
                cut(source)
            ))
        })?;
        self.value_of(&expression, loops)
    }

    /// The value of an expression, borrowed where it is part of a parameter or variable: large
    /// ones are indexed in loops.
    pub(super) fn value_of(
        &self,
        expression: &Expression,
        loops: &Loops,
    ) -> Result<Cow<'_, Value>, ArmError> {
        match expression {
            Expression::Text(text) => Ok(Cow::Owned(Value::String(text.clone()))),
            Expression::Int(number) => Ok(Cow::Owned(Value::from(*number))),
            Expression::Call { name, arguments } => functions::call(self, name, arguments, loops),
            Expression::Property(object, name) => property(self.value_of(object, loops)?, name),
            Expression::Index(object, index) => {
                let object = self.value_of(object, loops)?;
                match self.value_of(index, loops)?.as_ref() {
                    Value::String(name) => property(object, name),
                    index => element(object, index),
                }
            }
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Result<Cow<'_, Value>, ArmError> {
        match self.parameters.get(&name.to_lowercase()) {
            Some(Parameter::Given(value)) => Ok(Cow::Borrowed(value)),
            Some(Parameter::Null) => Ok(Cow::Owned(Value::Null)),
            Some(Parameter::Default(lazy)) => self.lazy(lazy, "parameters", name),
            Some(Parameter::Missing) => Err(invalid(format!(
                "The parameter '{}' has neither a value nor a defaultValue: give one.",
                cut(name)
            ))),
            None => Err(invalid(format!(
                "The template has no parameter '{}': declare it below \"parameters\".",
                cut(name)
            ))),
        }
    }

    pub(super) fn variable(&self, name: &str) -> Result<Cow<'_, Value>, ArmError> {
        match self.variables.get(&name.to_lowercase()) {
            Some(lazy) => self.lazy(lazy, "variables", name),
            None => Err(invalid(format!(
                "The template has no variable '{}': declare it below \"variables\".",
                cut(name)
            ))),
        }
    }

    fn lazy<'a>(
        &'a self,
        lazy: &'a Lazy<'t>,
        group: &str,
        name: &str,
    ) -> Result<Cow<'a, Value>, ArmError> {
        if let Some(value) = lazy.value.get() {
            return Ok(Cow::Borrowed(value));
        }
        let key = format!("{group}('{}')", name.to_lowercase());
        if self.active.borrow().contains(&key) {
            return Err(invalid(format!(
                "{} is defined by itself: break the circle.",
                cut(&key)
            )));
        }
        if self.active.borrow().len() >= MAX_CHAIN {
            return Err(invalid(format!(
                "{} is one of over {MAX_CHAIN} in a chain: shorten it.",
                cut(&key)
            )));
        }
        self.active.borrow_mut().push(key);
        let mut node = lazy.source.clone().into_owned();
        // A variable of many things, one of which is the key, is none itself.
        let key = lazy.secure || (self.hidden.within_key() && node.as_str().is_some());
        let result = if key {
            self.evaluate_key(&mut node, &Loops::default())
        } else {
            self.hidden
                .during(false, || self.evaluate(&mut node, &Loops::default()))
        };
        self.active.borrow_mut().pop();
        result.map_err(|error| {
            let step = error.target.clone().unwrap_or_default();
            invalid(format!("In {group}.{}{step}: {}", cut(name), error.message))
        })?;
        Ok(Cow::Borrowed(lazy.value.get_or_init(|| node.to_value())))
    }
}

/// The elements of `copy`, where it is one and not a property of that name.
fn take_copies<'t>(fields: &mut Fields<'t>) -> Option<Vec<Fields<'t>>> {
    let Node::Array(copies) = fields.get("copy")? else {
        return None;
    };
    let is_copy = |copy: &Node<'_>| {
        copy.as_object()
            .is_some_and(|c| c.get("count").is_some() && c.get("input").is_some())
    };
    if copies.is_empty() || !copies.iter().all(is_copy) {
        return None;
    }
    let Some(Node::Array(copies)) = fields.take("copy") else {
        return None;
    };
    let copies = copies.into_iter().filter_map(|copy| match copy {
        Node::Object(copy) => Some(copy),
        _ => None,
    });
    Some(copies.collect())
}

/// What a copy made is evaluated: a string that now begins with a bracket is doubled, because the
/// object around it is evaluated once more.
pub(super) fn shield(mut node: Node<'_>) -> Node<'_> {
    match &mut node {
        Node::Text(text) if text.starts_with('[') => text.to_mut().insert(0, '['),
        Node::Array(items) => {
            items
                .iter_mut()
                .for_each(|item| *item = shield(std::mem::take(item)));
        }
        Node::Object(fields) => {
            fields
                .iter_mut()
                .for_each(|(_, item)| *item = shield(std::mem::take(item)));
        }
        _ => {}
    }
    node
}

fn property<'a>(object: Cow<'a, Value>, name: &str) -> Result<Cow<'a, Value>, ArmError> {
    fn find<'m>(
        fields: &'m serde_json::Map<String, Value>,
        name: &str,
    ) -> Option<(&'m String, &'m Value)> {
        fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
    }
    let missing = || {
        invalid(format!(
            "There is no property '{}' in what the expression gives.",
            cut(name)
        ))
    };
    match object {
        Cow::Borrowed(Value::Object(fields)) => find(fields, name)
            .map(|(_, value)| Cow::Borrowed(value))
            .ok_or_else(missing),
        Cow::Owned(Value::Object(mut fields)) => {
            let key = find(&fields, name)
                .map(|(key, _)| key.clone())
                .ok_or_else(missing)?;
            Ok(Cow::Owned(fields.remove(&key).unwrap_or_default()))
        }
        _ => Err(invalid(format!(
            "'{}' cannot be taken from what is no object.",
            cut(name)
        ))),
    }
}

fn element<'a>(array: Cow<'a, Value>, index: &Value) -> Result<Cow<'a, Value>, ArmError> {
    let Some(length) = array.as_array().map(Vec::len) else {
        return Err(invalid(format!(
            "[{}] cannot be taken from what is no array.",
            cut(&index.to_string())
        )));
    };
    let at = index
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n < length);
    let Some(at) = at else {
        return Err(invalid(format!(
            "[{}] is outside the array, which has {length} elements.",
            cut(&index.to_string())
        )));
    };
    Ok(match array {
        Cow::Borrowed(value) => Cow::Borrowed(&value[at]),
        Cow::Owned(mut value) => Cow::Owned(value[at].take()),
    })
}
