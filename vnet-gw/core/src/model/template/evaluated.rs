//! A template's resources as the bodies of requests.

use std::{cell::OnceCell, collections::BTreeSet};

use serde_json::{Map, Value};

use super::{Errors, Hidden, Node, TemplateResource, cut, interleave, invalid, node::Fields, read};
use crate::model::{ArmError, DeployOptions, ResourceId};

/// A resource of a template, evaluated: what a PUT of it says.
///
/// Its `Debug` has no body: there may be a key in it.
#[derive(Clone, PartialEq)]
pub struct EvaluatedResource {
    /// Where it stands in the template: `resources[2]`, `resources[0].copy[7]`.
    pub path: String,
    /// In full, as written: `Microsoft.Network/virtualNetworks/subnets`.
    pub resource_type: String,
    /// One for each segment of the type: `VNet1`, `FrontEnd`.
    pub names: Vec<String>,
    /// `location`, `tags`, `sku`, `zones`, `properties` …, evaluated. Not what is ARM's:
    /// `type`, `name`, `apiVersion`, `dependsOn`, `condition`, `copy`, `comments`.
    pub body: Map<String, Value>,
    /// As evaluated: ids, names, symbolic names, names of copy loops.
    pub depends_on: Vec<String>,
    /// The `id` that the resource itself says, as those that a REST client shows do.
    written_id: Option<String>,
}

impl std::fmt::Debug for EvaluatedResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvaluatedResource")
            .field("path", &self.path)
            .field("id", &interleave(&self.resource_type, &self.names))
            .finish_non_exhaustive()
    }
}

/// What ARM reads of a resource, and the provider never sees.
const NOT_IN_BODY: [&str; 12] = [
    "id",
    "name",
    "type",
    "apiVersion",
    "comments",
    "metadata",
    "condition",
    "copy",
    "dependsOn",
    "existing",
    "asserts",
    "etag",
];

impl EvaluatedResource {
    pub(crate) fn new(
        path: String,
        resource_type: String,
        names: Vec<String>,
        depends_on: Vec<String>,
        fields: &Fields<'_>,
    ) -> Self {
        let written_id = fields.get("id").and_then(Node::as_str).map(str::to_owned);
        let body = fields
            .iter()
            .filter(|(name, _)| !NOT_IN_BODY.iter().any(|no| no.eq_ignore_ascii_case(name)))
            .map(|(name, value)| (name.to_owned(), value.to_value()))
            .collect();
        Self {
            path,
            resource_type,
            names,
            body,
            depends_on,
            written_id,
        }
    }

    /// The id: of the resource group that is deployed to, unless the resource says its own.
    ///
    /// # Errors
    ///
    /// `InvalidTemplate` where it says the id of something else.
    pub fn id(&self, options: &DeployOptions) -> Result<ResourceId, ArmError> {
        let relative = interleave(&self.resource_type, &self.names);
        let made = format!(
            "/subscriptions/{}/resourceGroups/{}/providers/{relative}",
            options.subscription_id, options.resource_group
        );
        let Some(written) = &self.written_id else {
            return Ok(ResourceId::new(&made));
        };
        let same = super::depends::relative(written).eq_ignore_ascii_case(&relative);
        match same {
            true if written.starts_with("/subscriptions/") => Ok(ResourceId::new(written)),
            true => Ok(ResourceId::new(&made)),
            false => Err(invalid(format!(
                "The id {} is not that of {made}: correct the id, the name or the type.",
                cut(written)
            ))
            .at(format!("{}.id", self.path))),
        }
    }

    pub(crate) fn twice(&self) -> ArmError {
        invalid(format!(
            "The resource {} is there twice: remove one.",
            interleave(&self.resource_type, &self.names)
        ))
        .at(&self.path)
    }
}

impl From<TemplateResource<'_>> for EvaluatedResource {
    fn from(resource: TemplateResource<'_>) -> Self {
        Self::new(
            resource.path,
            resource.resource_type,
            resource.names,
            resource.depends_on,
            &resource.fields,
        )
    }
}

/// The resources of an ARM deployment template: parameters, variables and expressions evaluated,
/// conditions decided, loops unrolled; in an order in which each comes after its parent and what
/// its `dependsOn` names, and otherwise as they stand. `reference()` is refused: it needs a
/// deployment.
///
/// # Errors
///
/// Everything that is wrong, as one [`ArmError`]. None shows a key or the value of a secure
/// parameter, nor what an expression made of one.
pub fn template_resources(
    text: &str,
    options: &DeployOptions,
) -> Result<Vec<EvaluatedResource>, ArmError> {
    let hidden = Hidden::default();
    let evaluate = || {
        options.check()?;
        let mut errors = Errors::default();
        let blanked = OnceCell::new();
        let resources = read(text, &blanked, options, &hidden, &mut errors);
        std::mem::take(&mut errors).into_result()?;
        let resources: Vec<_> = resources.into_iter().map(EvaluatedResource::from).collect();
        let mut seen = BTreeSet::new();
        for resource in &resources {
            let id = errors.keep(resource.id(options));
            if let Some(id) = id
                && !seen.insert(id)
            {
                errors.push(resource.twice());
            }
        }
        errors.into_result()?;
        Ok(resources)
    };
    evaluate().map_err(|error: ArmError| hidden.scrub(error))
}
