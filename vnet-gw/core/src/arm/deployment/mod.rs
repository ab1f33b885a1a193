//! `Microsoft.Resources/deployments`: a template becomes a set of changes, and outputs.
//!
//! ```text
//! template, parameters ─► resources in the order of their dependencies (model::template)
//!     │ each is evaluated when what it refers to has been applied to a tentative State
//!     ▼
//! changes, all of them ─► State::apply from where the deployment began ─► outputs, what-if
//! ```
//!
//! Nothing is kept here: whoever deploys submits the changes as one set, so a deployment is carried
//! out as a whole or not at all, and two deployments that say the same change nothing.

mod export;
mod level;
mod nested;
mod record;
mod tentative;
#[cfg(test)]
mod tests;
mod what_if;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

pub use self::{
    export::{Exported, export},
    record::{hide_keys, template_hash},
    what_if::{ResultFormat, what_if},
};
use self::{
    level::{Level, Place},
    tentative::Tentative,
};
use super::{Assign, Change, GroupId, Origin, Precondition, State, Target};
use crate::model::{
    ArmError, DeployOptions, ResourceId, Warning, cut,
    error::Errors,
    hidden::Hidden,
    template::{
        self,
        around::Around,
        evaluate::{Evaluator, invalid},
        node::{Fields, Node},
        outputs, parameters,
    },
};

/// A deployment that is asked for.
#[derive(Clone)]
pub struct Request<'a> {
    /// The template, an object.
    pub template: &'a Value,
    /// `{name: {"value": …}}`
    pub parameters: &'a Value,
    /// Where to, when, and under which name; its `parameters` are not looked at. With an empty
    /// resource group it is a deployment to the subscription.
    pub options: DeployOptions,
    pub mode: Mode,
    pub origin: Origin,
    /// Whether whoever deploys may read a resource that `reference()` names.
    pub may_read: &'a dyn Fn(&str) -> bool,
}

/// What becomes of the resources of the group that the template does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They stay.
    #[default]
    Incremental,
    /// They go.
    Complete,
}

impl Mode {
    /// From a request, in any case.
    ///
    /// # Errors
    ///
    /// `InvalidDeploymentMode`-like where it is another one.
    pub fn parse(text: &str) -> Result<Self, ArmError> {
        match text {
            _ if text.eq_ignore_ascii_case("incremental") => Ok(Self::Incremental),
            _ if text.eq_ignore_ascii_case("complete") => Ok(Self::Complete),
            _ => Err(ArmError::new(
                "InvalidDeployment",
                format!(
                    "'{}' is no mode of a deployment: use Incremental or Complete.",
                    cut(text)
                ),
            )),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "Incremental",
            Self::Complete => "Complete",
        }
    }
}

/// What a deployment comes to.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// To be submitted as one set.
    pub changes: Vec<Change>,
    /// With all of them; ids and GUIDs that are made up are not those of the set that is submitted.
    pub state: State,
    pub warnings: Vec<Warning>,
    /// `{name: {"type", "value"}}`; secure ones without a value.
    pub outputs: Map<String, Value>,
    /// The template's parameters, the same way.
    pub parameters: Map<String, Value>,
    /// The resources of the template that are deployed, in order, those of nested deployments
    /// included; not what `Complete` removes.
    pub resources: Vec<String>,
    /// What depends on what, by ids.
    pub dependencies: Vec<(String, Vec<String>)>,
}

/// Carries out a deployment on a tentative state.
///
/// # Errors
///
/// `InvalidTemplate` and others of its own, and those of [`State::apply`]; nothing shows a key.
pub fn execute(
    request: &Request<'_>,
    state: &State,
    assign: &mut dyn Assign,
) -> Result<Deployed, ArmError> {
    let hidden = Hidden::default();
    run(request, state, assign, &hidden).map_err(|error| hidden.scrub(error))
}

fn run(
    request: &Request<'_>,
    state: &State,
    assign: &mut dyn Assign,
    hidden: &Hidden,
) -> Result<Deployed, ArmError> {
    let mut options = request.options.clone();
    options.parameters = given(request.parameters)?;
    let group = match options.resource_group.as_str() {
        "" => None,
        name => Some(GroupId::new(&options.subscription_id, name)?),
    };
    if let Some(id) = &group {
        let Some(group) = state.groups.get(id) else {
            return Err(no_group(&id.name));
        };
        options.location.clone_from(&group.location);
        options.resource_group.clone_from(&group.id.name);
    }
    let root = Node::from(request.template.clone());
    let program = Program::read(&root, group.is_some())?;
    let evaluator = template::evaluator(program.root, &options, hidden)?;
    let tentative = Tentative::new(state, assign, request);
    let place = Place {
        subscription: options.subscription_id.clone(),
        group: group.clone(),
        depth: 0,
    };
    let level = Level::new(&evaluator, &tentative, hidden, place);
    let resources = program.resources.clone();
    let run = || {
        level.run(resources, &Around::default(), |around| {
            if let (Mode::Complete, Some(group)) = (request.mode, &group) {
                tentative.remove_others(group);
            }
            tentative.finish()?;
            outputs::evaluate(&evaluator, program.outputs, around)
        })
    };
    let outputs = run()?;
    let parameters = parameters::shown(&evaluator, program.parameters)?;
    let done = tentative.into_done();
    Ok(Deployed {
        changes: done.changes,
        state: done.state,
        warnings: done.warnings,
        outputs,
        parameters,
        resources: done.resources,
        dependencies: done.dependencies,
    })
}

/// A template's parts.
struct Program<'t> {
    root: &'t Fields<'t>,
    resources: Node<'t>,
    outputs: Option<&'t Node<'t>>,
    parameters: Option<&'t Fields<'t>>,
}

impl<'t> Program<'t> {
    fn read(root: &'t Node<'t>, in_group: bool) -> Result<Self, ArmError> {
        if let Some(path) = root.duplicates(1).into_iter().next() {
            return Err(invalid("The name is there twice: remove one.").at(path));
        }
        let Node::Object(root) = root else {
            return Err(invalid(
                "A template is a JSON object: write {\"resources\": […]}.",
            ));
        };
        let mut errors = Errors::default();
        let schemas: &[&str] = match in_group {
            true => &["deploymenttemplate.json"],
            false => &[
                "subscriptiondeploymenttemplate.json",
                "deploymenttemplate.json",
            ],
        };
        template::check_top_level(root, schemas, &mut errors);
        errors.into_result()?;
        let Some(resources) = root.get("resources") else {
            return Err(invalid(
                "The template has no \"resources\": add them (perhaps empty, []).",
            ));
        };
        Ok(Self {
            root,
            resources: resources.clone(),
            outputs: root.get("outputs"),
            parameters: root.get("parameters").and_then(Node::as_object),
        })
    }
}

/// The values among `{name: {"value": …}}`.
fn given(parameters: &Value) -> Result<Map<String, Value>, ArmError> {
    let wrong = |why: &str| ArmError::new("InvalidDeploymentParameters", why);
    let parameters = match parameters {
        Value::Null => return Ok(Map::new()),
        Value::Object(parameters) => parameters,
        _ => return Err(wrong("This must be an object of names.").at("parameters")),
    };
    // A whole file of parameters, as some clients send it.
    let parameters = match (parameters.get("$schema"), parameters.get("parameters")) {
        (Some(_), Some(Value::Object(inner))) => inner,
        _ => parameters,
    };
    let mut out = Map::new();
    let mut seen = BTreeSet::new();
    for (name, one) in parameters {
        let at = |error: ArmError| error.at(format!("parameters.{}", cut(name)));
        if !seen.insert(name.to_lowercase()) {
            return Err(at(wrong("The name is there twice: remove one.")));
        }
        let Some(one) = one.as_object() else {
            return Err(at(wrong("A parameter is an object: write {\"value\": …}.")));
        };
        if one.contains_key("reference") {
            return Err(at(wrong(
                "Key vault references cannot be followed: write the value.",
            )));
        }
        match one.get("value") {
            Some(value) => out.insert(name.clone(), value.clone()),
            None => return Err(at(wrong("The parameter has no \"value\": add it."))),
        };
    }
    Ok(out)
}

fn no_group(name: &str) -> ArmError {
    ArmError::new(
        "ResourceGroupNotFound",
        format!("Resource group '{}' could not be found.", cut(name)),
    )
}
