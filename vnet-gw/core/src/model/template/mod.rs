//! An ARM deployment template, with its expressions evaluated and its loops unrolled: a list of
//! resources, each with its full type, its names and what it says.

pub(crate) mod around;
mod copies;
pub(crate) mod depends;
pub(crate) mod evaluate;
mod evaluated;
mod expression;
mod functions;
pub(super) mod json;
pub(crate) mod node;
pub(crate) mod outputs;
pub(crate) mod parameters;
mod relaxed;
pub(crate) mod resources;

use std::{borrow::Cow, cell::OnceCell};

pub(crate) use self::functions::murmur_hash64;
use self::{
    around::Around,
    depends::Dependencies,
    evaluate::{Evaluator, Lazy, invalid, within},
    node::{Fields, Node},
    resources::{Role, interleave},
};
pub use self::{
    evaluated::{EvaluatedResource, template_resources},
    relaxed::parse_relaxed_json,
};
use super::{
    ArmError, DeployOptions,
    error::{Errors, MAX_DETAILS, cut},
    hidden::Hidden,
};

/// A resource of the template, evaluated.
#[derive(Debug)]
pub(super) struct TemplateResource<'t> {
    /// Where it stands in the template: `resources[2]`.
    pub(super) path: String,
    /// In full: `Microsoft.Network/virtualNetworks/subnets`.
    pub(super) resource_type: String,
    /// One for each segment of the type: `VNet1`, `FrontEnd`.
    pub(super) names: Vec<String>,
    depends_on: Vec<String>,
    /// As written, without what is read here (`name`, `type`, `condition`, `copy`, `resources`).
    pub(super) fields: Fields<'t>,
}

/// What may stand at the top; `None` where it would have to be carried out.
const TOP_LEVEL: &[(&str, Option<&str>)] = &[
    ("$schema", None),
    ("contentVersion", None),
    ("languageVersion", None),
    ("apiProfile", None),
    ("metadata", None),
    ("parameters", None),
    ("variables", None),
    ("resources", None),
    ("outputs", None),
    ("functions", None),
    ("definitions", None),
    ("imports", Some("imports")),
    ("extensions", Some("extensions")),
];

/// The resources of a template's text, in its order, parents before their nested children.
pub(super) fn read<'t>(
    text: &'t str,
    blanked: &'t OnceCell<String>,
    options: &DeployOptions,
    hidden: &Hidden,
    errors: &mut Errors,
) -> Vec<TemplateResource<'t>> {
    let Some(root) = errors.keep(json::parse(text, blanked)) else {
        return Vec::new();
    };
    for path in root.duplicates(MAX_DETAILS) {
        errors.push(invalid("The name is there twice: remove one.").at(path));
    }
    if !errors.is_empty() {
        return Vec::new();
    }
    let Node::Object(mut root) = root else {
        errors.push(invalid(
            "A template is a JSON object: write {\"resources\": […]}.",
        ));
        return Vec::new();
    };
    check_top_level(&root, &["deploymenttemplate.json"], errors);
    let resources = root.take("resources");
    let evaluator = match evaluator(&root, options, hidden) {
        Ok(evaluator) => evaluator,
        Err(error) => {
            errors.push(error);
            return Vec::new();
        }
    };
    if !errors.is_empty() {
        return Vec::new();
    }
    let Some(resources) = resources else {
        errors.push(invalid(
            "The template has no \"resources\": add them (perhaps empty, []).",
        ));
        return Vec::new();
    };
    let mut instances = resources::list(&evaluator, resources, &Around::default(), errors);
    let order = Dependencies::of(&instances).and_then(|all| all.order(&instances));
    let order = match order {
        Ok(order) if errors.is_empty() => order,
        order => {
            // What a resource that was not found would have been depended on by is no error more.
            if errors.is_empty() {
                errors.keep(order);
            }
            for instance in &instances {
                instance.hide_keys(&evaluator);
            }
            return Vec::new();
        }
    };
    let mut found = Vec::with_capacity(order.len());
    for at in order {
        let instance = &mut instances[at];
        if instance.role != Role::Deployed {
            continue;
        }
        let mut fields = std::mem::take(&mut instance.fields);
        let done = instance.evaluate(&mut fields, &evaluator, &instance.around);
        if errors.keep(done).is_some() {
            found.push(TemplateResource {
                path: std::mem::take(&mut instance.path),
                resource_type: std::mem::take(&mut instance.resource_type),
                names: std::mem::take(&mut instance.names),
                depends_on: std::mem::take(&mut instance.depends_on),
                fields,
            });
        }
    }
    found
}

pub(crate) fn check_top_level(root: &Fields<'_>, schemas: &[&str], errors: &mut Errors) {
    for (name, value) in root.iter() {
        match TOP_LEVEL
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            None => errors.push(
                invalid(format!(
                    "A template has no '{}' at its top: correct or remove it.",
                    cut(name)
                ))
                .at(cut(name)),
            ),
            Some((_, Some(feature))) if !value.is_empty() => errors.push(
                ArmError::new(
                    "NotSupported",
                    format!("Templates with {feature} are not supported yet: write them out."),
                )
                .at(name),
            ),
            Some(_) => {}
        }
    }
    let schema = root
        .get("$schema")
        .and_then(Node::as_str)
        .unwrap_or_default()
        .to_lowercase();
    let file = schema
        .trim_end_matches('#')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if !file.is_empty() && !schemas.contains(&file) {
        errors.push(
            invalid(format!(
                "'{}' is not the schema of this kind of template, which is {}: give that kind of \
                 file.",
                cut(file),
                schemas.join(" or ")
            ))
            .at("$schema"),
        );
    }
}

pub(crate) fn evaluator<'t>(
    root: &'t Fields<'t>,
    options: &'t DeployOptions,
    hidden: &'t Hidden,
) -> Result<Evaluator<'t>, ArmError> {
    let mut evaluator = Evaluator::new(options, hidden);
    let section = |name: &str| match root.get(name) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Object(section)) => Ok(Some(section)),
        Some(_) => Err(invalid("This must be an object of names.").at(name.to_owned())),
    };
    let declared = section("parameters")?;
    let variables = section("variables")?;
    parameters::declare(&mut evaluator, declared, section("definitions")?)?;
    evaluator
        .functions
        .extend(functions::read_own(root.get("functions"))?);
    for (name, value) in variables.into_iter().flat_map(Fields::iter) {
        if !(name == "copy" && matches!(value, Node::Array(_))) {
            evaluator
                .variables
                .insert(name.to_lowercase(), Lazy::new(Cow::Borrowed(value)));
        }
    }
    if let Some(Node::Array(copies)) = variables.and_then(|variables| variables.get("copy")) {
        for (number, copy) in copies.iter().enumerate() {
            let mut unrolled = Fields::default();
            unrolled.insert("copy".to_owned(), Node::Array(vec![copy.clone()]));
            let mut unrolled = Node::Object(unrolled);
            evaluator
                .evaluate(&mut unrolled, &Around::default())
                .map_err(|error| within(error, &format!("variables.copy[{number}]")))?;
            let Node::Object(unrolled) = unrolled else {
                continue;
            };
            for (name, value) in unrolled.into_pairs() {
                let value = copies::shield(value);
                if evaluator.variables.contains_key(&name.to_lowercase()) {
                    return Err(evaluate::twice().at(format!("variables.copy[{number}].name")));
                }
                evaluator
                    .variables
                    .insert(name.to_lowercase(), Lazy::new(Cow::Owned(value)));
            }
        }
    }
    Ok(evaluator)
}
