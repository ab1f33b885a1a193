//! Deployments inside a template.

use serde_json::{Map, Value};

use super::{
    GroupId, Node, Program, given, invalid,
    level::{Level, Place},
};
use crate::model::{
    ArmError, DeployOptions,
    template::{
        self, around::Around, evaluate::within, node::Fields, outputs, resources::Instance,
    },
};

/// Deployments inside deployments: Azure has as many.
const MOST_NESTED: usize = 5;

/// What one costs, in bytes made.
const EACH: usize = 256 << 10;

impl Level<'_, '_, '_> {
    /// Carries out a nested deployment: all of what it refers to is there.
    pub(super) fn nested(
        &self,
        instance: &Instance<'_>,
        id: &str,
        around: &Around<'_>,
    ) -> Result<(), ArmError> {
        let at = |error: ArmError| within(error, &instance.path);
        if self.place.depth >= MOST_NESTED {
            return Err(at(invalid(format!(
                "Deployments are nested more than {MOST_NESTED} deep: unfold them."
            ))));
        }
        self.evaluator.spend_bytes(EACH).map_err(at)?;
        let mut fields = instance.fields.clone();
        let properties = fields.take("properties").unwrap_or_default();
        instance.evaluate(&mut fields, self.evaluator, around)?;
        let Node::Object(mut properties) = properties else {
            return Err(at(invalid(
                "A deployment has properties: {mode, template}.",
            )));
        };
        let inner = properties.take("template");
        let mut parameters = properties.take("parameters").unwrap_or_default();
        let (evaluated, tainted) = self
            .evaluator
            .watching(|| self.evaluator.evaluate(&mut parameters, around));
        evaluated.map_err(|error| at(within(error, ".properties.parameters")))?;
        let mut properties = Node::Object(properties);
        self.evaluator
            .evaluate(&mut properties, around)
            .map_err(|error| at(within(error, ".properties")))?;
        let properties = properties.to_value();
        let properties = properties.as_object().cloned().unwrap_or_default();
        check(&properties).map_err(|error| at(within(error, ".properties")))?;
        let Some(inner) = inner else {
            return Err(at(invalid("The deployment has no template: add one.")));
        };
        let place = self.place_of(&fields).map_err(at)?;
        // What it refers to was applied; what it depends on need not be.
        self.tentative.flush()?;
        let outputs = match is_inner(&properties) {
            true => self.inner(&inner, &parameters.to_value(), tainted, &place, instance),
            false => self.outer(&inner, &place, instance),
        };
        let outputs = outputs.map_err(|error| {
            let path = format!("{}.properties.template.", instance.path);
            match &error.target {
                // Of a resource, not of the template.
                Some(target) if target.starts_with('/') => error,
                _ => within(error, &path),
            }
        })?;
        self.tentative.deployed(id, &outputs);
        Ok(())
    }

    /// Where it deploys to: the resource group it names, or the one around it.
    fn place_of(&self, fields: &Fields<'_>) -> Result<Place, ArmError> {
        let text = |name: &str| fields.get(name).and_then(Node::as_str);
        if fields.get("scope").is_some_and(|scope| !scope.is_empty()) {
            return Err(ArmError::new(
                "NotSupported",
                "The 'scope' of a nested deployment is not supported: use resourceGroup and \
                 subscriptionId.",
            )
            .at(".scope"));
        }
        let subscription = text("subscriptionId").unwrap_or(&self.place.subscription);
        let group = match (text("resourceGroup"), &self.place.group) {
            (Some(name), _) => Some(GroupId::new(subscription, name)?),
            (None, Some(group)) if text("subscriptionId").is_none() => Some(group.clone()),
            (None, _) => None,
        };
        let group = group
            .map(|group| self.existing_group(&group))
            .transpose()?
            .map(|group| group.id);
        Ok(Place {
            subscription: subscription.to_owned(),
            group,
            depth: self.place.depth + 1,
        })
    }

    /// Expressions mean the outer template's parameters and variables.
    fn outer(
        &self,
        inner: &Node<'_>,
        place: &Place,
        instance: &Instance<'_>,
    ) -> Result<Map<String, Value>, ArmError> {
        let program = Program::read(inner, place.group.is_some())?;
        let level = Level {
            place: place.clone(),
            ..*self
        };
        level.run(program.resources, &instance.around, |around| {
            self.tentative.flush()?;
            outputs::evaluate(self.evaluator, program.outputs, around)
        })
    }

    /// It has parameters and variables of its own.
    fn inner(
        &self,
        inner: &Node<'_>,
        parameters: &Value,
        secure: bool,
        place: &Place,
        instance: &Instance<'_>,
    ) -> Result<Map<String, Value>, ArmError> {
        let program = Program::read(inner, place.group.is_some())?;
        let group = place.group.as_ref();
        let location = match group {
            Some(group) => self.existing_group(group)?.location,
            None => self.evaluator.options.location.clone(),
        };
        let options = DeployOptions {
            subscription_id: place.subscription.clone(),
            resource_group: group.map(|group| group.name.clone()).unwrap_or_default(),
            location,
            parameters: given(parameters)?,
            deployment: instance.names.last().cloned().unwrap_or_default(),
            most_work: self.evaluator.work_left(),
            ..self.evaluator.options.clone()
        };
        let mut evaluator = template::evaluator(program.root, &options, self.hidden)?;
        if secure {
            // One of them was made of a secure parameter, so none is shown.
            evaluator.all_secure();
        }
        let level = Level {
            evaluator: &evaluator,
            tentative: self.tentative,
            hidden: self.hidden,
            place: place.clone(),
        };
        let outputs = level.run(program.resources, &Around::default(), |around| {
            self.tentative.flush()?;
            outputs::evaluate(&evaluator, program.outputs, around)
        });
        self.evaluator.spend_with(&evaluator)?;
        outputs
    }
}

/// What a nested deployment cannot have.
fn check(properties: &Map<String, Value>) -> Result<(), ArmError> {
    for (name, value) in properties {
        let what = match name.to_ascii_lowercase().as_str() {
            "mode"
                if value
                    .as_str()
                    .is_some_and(|mode| mode.eq_ignore_ascii_case("incremental")) =>
            {
                continue;
            }
            "mode" => "Nested deployments are Incremental; another mode",
            "templatelink" => "A linked template cannot be fetched: a templateLink",
            "parameterslink" => "Linked parameters cannot be fetched: a parametersLink",
            "onerrordeployment" => "What failed changed nothing: an onErrorDeployment",
            _ => continue,
        };
        if !value.is_null() {
            return Err(ArmError::new(
                "NotSupported",
                format!("{what} is not supported; write the template out, or remove it."),
            )
            .at(format!(".{name}")));
        }
    }
    Ok(())
}

/// `expressionEvaluationOptions.scope`
fn is_inner(properties: &Map<String, Value>) -> bool {
    let options = Level::member(properties, "expressionEvaluationOptions");
    let scope = options
        .and_then(Value::as_object)
        .and_then(|options| Level::member(options, "scope"));
    scope
        .and_then(Value::as_str)
        .is_some_and(|scope| scope.eq_ignore_ascii_case("inner"))
}
