//! Evaluates template expressions, and unrolls property copies.

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use super::{
    around::Around,
    expression::{self, Expression, Text},
    functions::{self, Function},
    node::Node,
};
use crate::model::{
    ArmError, DeployOptions,
    error::cut,
    hidden::{Hidden, is_key},
};

/// Of what is a key, and so not shown.
const NO_EXPRESSION: &str = "What stands between the brackets cannot be read, and is not shown \
    here: correct the expression, or double the first bracket of a key that is none.";

/// Variables that use variables that use variables: deeper is an attack on the stack.
const MAX_CHAIN: usize = 64;

/// Expressions and values in one another, through all variables: deeper is an attack on the stack.
const MAX_DEPTH: usize = 256;

/// What a step of the evaluation costs, in bytes made.
const STEP: usize = 32;

/// Parameters, variables and the deployment's own values; each is evaluated once, when first used.
pub(crate) struct Evaluator<'t> {
    pub(crate) options: &'t DeployOptions,
    /// What the errors must not show.
    pub(crate) hidden: &'t Hidden,
    pub(super) parameters: BTreeMap<String, Parameter<'t>>,
    pub(super) variables: BTreeMap<String, Lazy<'t>>,
    /// Parameters and variables being evaluated, to find one that uses itself.
    active: RefCell<Vec<String>>,
    pub(super) functions: BTreeMap<String, Function<'t>>,
    pub(super) iterations: Cell<usize>,
    /// Work done and bytes made, against the limit.
    spent: Cell<usize>,
    /// How many of `active` are defaults of parameters.
    defaults: Cell<usize>,
    guids: Cell<u64>,
    depth: Cell<usize>,
    /// The value of a secure parameter was used.
    tainted: Cell<bool>,
    /// Names of secure parameters, in lower case.
    pub(super) secure: BTreeSet<String>,
}

/// A parameter: the value of the deployment, or the default of the template.
pub(crate) enum Parameter<'t> {
    Given(&'t Value),
    /// None is given, and none is needed.
    Null,
    Default(Lazy<'t>),
    /// Neither: an error where it is used.
    Missing,
}

pub(crate) struct Lazy<'t> {
    source: Cow<'t, Node<'t>>,
    value: OnceCell<Value>,
    /// The default of a secure parameter.
    secure: bool,
    /// Made of the value of a secure parameter.
    tainted: Cell<bool>,
}

impl<'t> Lazy<'t> {
    pub(super) fn new(source: Cow<'t, Node<'t>>) -> Self {
        Self {
            source,
            value: OnceCell::new(),
            secure: false,
            tainted: Cell::new(false),
        }
    }

    pub(super) fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }
}

/// An `InvalidTemplate` error whose path is still to come.
pub(crate) fn invalid(message: impl Into<String>) -> ArmError {
    ArmError::new("InvalidTemplate", message)
}

/// Two of one name: which one counts would be a guess.
pub(super) fn twice() -> ArmError {
    invalid("The name is there twice: rename or remove one.")
}

/// Puts a step of the path before what the error has.
pub(crate) fn within(mut error: ArmError, step: &str) -> ArmError {
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
            functions: BTreeMap::new(),
            iterations: Cell::new(0),
            spent: Cell::new(0),
            defaults: Cell::new(0),
            guids: Cell::new(0),
            depth: Cell::new(0),
            tainted: Cell::new(false),
            secure: BTreeSet::new(),
        }
    }

    /// Evaluates every string of a value, in place.
    pub(crate) fn evaluate(
        &self,
        node: &mut Node<'_>,
        around: &Around<'_>,
    ) -> Result<(), ArmError> {
        self.deeper(|| self.evaluate_in_place(node, around))
    }

    fn evaluate_in_place(&self, node: &mut Node<'_>, around: &Around<'_>) -> Result<(), ArmError> {
        match node {
            // Nearly every string is a literal; none is copied.
            Node::Text(text) if text.starts_with('[') => {
                *node = match expression::classify(text) {
                    Text::Literal(literal) => Node::Text(literal.to_owned().into()),
                    Text::Expression(source) => {
                        let value = self.run(source, around)?;
                        self.spend(&value)?;
                        value.into_owned().into()
                    }
                };
            }
            Node::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.evaluate(item, around)
                        .map_err(|e| within(e, &format!("[{index}]")))?;
                }
            }
            Node::Object(fields) => {
                self.property_copies(fields, around)?;
                for (name, item) in fields.iter_mut() {
                    let result = if is_key(name) {
                        self.evaluate_key(item, around)
                    } else {
                        self.evaluate(item, around)
                    };
                    result.map_err(|e| within(e, &format!(".{name}")))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The same of what is a key.
    fn evaluate_key(&self, node: &mut Node<'_>, around: &Around<'_>) -> Result<(), ArmError> {
        let result = self.hidden.during(true, || self.evaluate(node, around));
        if result.is_ok() {
            self.hidden.value(&node.to_value());
        }
        result
    }

    /// Hides the keys in what will not be evaluated as a whole, so that no error shows them.
    pub(crate) fn hide_keys(&self, node: &Node<'_>, around: &Around<'_>) {
        match node {
            Node::Array(items) => items.iter().for_each(|item| self.hide_keys(item, around)),
            Node::Object(fields) => {
                for (name, item) in fields.iter() {
                    self.hide_key(name, item, around);
                }
            }
            _ => {}
        }
    }

    pub(super) fn hide_key(&self, name: &str, item: &Node<'_>, around: &Around<'_>) {
        if is_key(name) {
            let _ = self.evaluate_key(&mut item.clone(), around);
        } else {
            self.hide_keys(item, around);
        }
    }

    fn run(&self, source: &str, around: &Around<'_>) -> Result<Cow<'_, Value>, ArmError> {
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
        self.value_of(&expression, around)
    }

    /// The value of an expression, borrowed where it is part of a parameter or variable: large
    /// ones are indexed in around.
    pub(super) fn value_of(
        &self,
        expression: &Expression,
        around: &Around<'_>,
    ) -> Result<Cow<'_, Value>, ArmError> {
        self.deeper(|| self.value_of_one(expression, around))
    }

    fn value_of_one(
        &self,
        expression: &Expression,
        around: &Around<'_>,
    ) -> Result<Cow<'_, Value>, ArmError> {
        self.spend_bytes(STEP)?;
        match expression {
            Expression::Text(text) => Ok(Cow::Owned(Value::String(text.clone()))),
            Expression::Int(number) => Ok(Cow::Owned(Value::from(*number))),
            Expression::Call { name, arguments } => functions::call(self, name, arguments, around),
            Expression::Property(object, name) => property(self.value_of(object, around)?, name),
            Expression::Index(object, index) => {
                let object = self.value_of(object, around)?;
                match self.value_of(index, around)?.as_ref() {
                    Value::String(name) => property(object, name),
                    index => element(object, index),
                }
            }
        }
    }

    /// Counts what it costs to make a value.
    ///
    /// # Errors
    ///
    /// Where a template makes too much: a few variables that repeat one another fill any memory.
    pub(super) fn spend(&self, value: &Value) -> Result<(), ArmError> {
        self.spend_bytes(weight(value))
    }

    pub(crate) fn spend_bytes(&self, bytes: usize) -> Result<(), ArmError> {
        let spent = self.spent.get().saturating_add(bytes);
        self.spent.set(spent);
        match spent <= self.options.most_work {
            true => Ok(()),
            false => Err(invalid(
                "The expressions of the template make too much: shorten its loops, or what they \
                 repeat.",
            )),
        }
    }

    /// Does something that may do the same again.
    fn deeper<T>(&self, work: impl FnOnce() -> Result<T, ArmError>) -> Result<T, ArmError> {
        let depth = self.depth.get() + 1;
        if depth > MAX_DEPTH {
            return Err(invalid(
                "Variables, functions and what they say stand too deeply in one another: unfold \
                 them.",
            ));
        }
        self.depth.set(depth);
        let result = work();
        self.depth.set(depth - 1);
        result
    }

    /// What is left of the work that it may do.
    pub(crate) fn work_left(&self) -> usize {
        self.options.most_work.saturating_sub(self.spent.get())
    }

    /// Counts what the evaluator of a nested template spent.
    pub(crate) fn spend_with(&self, nested: &Evaluator<'_>) -> Result<(), ArmError> {
        self.spend_bytes(nested.spent.get())
    }

    /// Makes all parameters secure.
    pub(crate) fn all_secure(&mut self) {
        self.secure = self.parameters.keys().cloned().collect();
    }

    /// Whether what is evaluated is the default of a parameter.
    pub(super) fn in_default(&self) -> bool {
        self.defaults.get() > 0
    }

    /// A number that it gives only once.
    pub(super) fn next_guid(&self) -> u64 {
        let number = self.guids.get();
        self.guids.set(number + 1);
        number
    }

    /// Does something, and says whether it used the value of a secure parameter.
    pub(crate) fn watching<T>(&self, work: impl FnOnce() -> T) -> (T, bool) {
        let before = self.tainted.replace(false);
        let result = work();
        let tainted = self.tainted.get();
        self.tainted.set(before || tainted);
        (result, tainted)
    }

    pub(super) fn parameter(&self, name: &str) -> Result<Cow<'_, Value>, ArmError> {
        if self.secure.contains(&name.to_lowercase()) {
            self.tainted.set(true);
        }
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

    pub(super) fn variable(
        &self,
        name: &str,
        around: &Around<'_>,
    ) -> Result<Cow<'_, Value>, ArmError> {
        if around.in_function() {
            return Err(invalid(
                "A function has no variables: give it what it needs as an argument.",
            ));
        }
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
            if lazy.tainted.get() {
                self.tainted.set(true);
            }
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
        let default = usize::from(group == "parameters");
        self.defaults.set(self.defaults.get() + default);
        let mut node = lazy.source.clone().into_owned();
        // A variable of many things, one of which is the key, is none itself.
        let key = lazy.secure || (self.hidden.within_key() && node.as_str().is_some());
        let (result, tainted) = self.watching(|| {
            if key {
                self.evaluate_key(&mut node, &Around::default())
            } else {
                self.hidden
                    .during(false, || self.evaluate(&mut node, &Around::default()))
            }
        });
        lazy.tainted.set(tainted);
        self.active.borrow_mut().pop();
        self.defaults.set(self.defaults.get() - default);
        result.map_err(|error| {
            let step = error.target.clone().unwrap_or_default();
            invalid(format!("In {group}.{}{step}: {}", cut(name), error.message))
        })?;
        Ok(Cow::Borrowed(lazy.value.get_or_init(|| node.to_value())))
    }
}

/// About the bytes that a value takes.
fn weight(value: &Value) -> usize {
    const EACH: usize = 32;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, item)| name.len() + weight(item))
            .sum(),
        _ => 0,
    }
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
