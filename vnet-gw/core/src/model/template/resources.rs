//! The `resources` of a template: conditions, resource copies and nested children.

use super::{
    TemplateResource,
    evaluate::{Evaluator, Loops, invalid, within},
    node::{Fields, Node},
};
use crate::model::{
    ArmError,
    error::{Errors, cut},
};

/// Reads the array, or the object of symbolic names that `languageVersion` 2.0 has.
pub(super) fn read<'n>(
    evaluator: &Evaluator<'_>,
    resources: Node<'n>,
    errors: &mut Errors,
) -> Vec<TemplateResource<'n>> {
    let mut reader = Reader {
        evaluator,
        errors,
        found: Vec::new(),
    };
    reader.list(resources, "resources", None, &Loops::default());
    reader.found
}

struct Reader<'e, 't, 'n> {
    evaluator: &'e Evaluator<'t>,
    errors: &'e mut Errors,
    found: Vec<TemplateResource<'n>>,
}

/// Full type and names of the resource around a nested one.
type Parent<'a> = Option<(&'a str, &'a [String])>;

impl<'n> Reader<'_, '_, 'n> {
    fn list(&mut self, resources: Node<'n>, path: &str, parent: Parent<'_>, loops: &Loops) {
        match resources {
            Node::Array(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    self.resource(item, format!("{path}[{index}]"), parent, loops);
                }
            }
            Node::Object(items) => {
                for (name, item) in items.into_pairs() {
                    self.resource(item, format!("{path}.{}", cut(&name)), parent, loops);
                }
            }
            Node::Null => {}
            _ => self
                .errors
                .push(invalid("This must be an array of resources.").at(path)),
        }
    }

    fn resource(&mut self, resource: Node<'n>, path: String, parent: Parent<'_>, loops: &Loops) {
        let Node::Object(mut fields) = resource else {
            return self
                .errors
                .push(invalid("A resource is an object.").at(path));
        };
        // The resource of another deployment, named so that references can be symbolic.
        if fields.get("existing") == Some(&Node::Bool(true)) {
            return;
        }
        let Some(copy) = fields.take("copy") else {
            return self.instance(fields, path, parent, loops);
        };
        let Node::Object(mut copy) = copy else {
            return self
                .errors
                .push(invalid("A copy is an object: {name, count}.").at(path + ".copy"));
        };
        let copy_path = format!("{path}.copy");
        match self.evaluator.copy_loop(&mut copy, loops) {
            Ok((name, count)) => {
                for index in 0..count {
                    let path = format!("{path}.copy[{index}]");
                    self.instance(fields.clone(), path, parent, &loops.with(&name, index));
                }
            }
            Err(error) => self.errors.push(within(error, &copy_path)),
        }
    }

    fn instance(
        &mut self,
        mut fields: Fields<'n>,
        path: String,
        parent: Parent<'_>,
        loops: &Loops,
    ) {
        // The order of deployment means nothing to a model that is validated as a whole.
        fields.take("dependsOn");
        let children = fields.take("resources");
        match self.evaluated(&mut fields, parent, loops) {
            Err(error) => self.errors.push(within(error, &path)),
            // A resource that is not deployed; its children stand on their own, as in ARM.
            Ok(None) => {
                let Some(children) = children else { return };
                let Ok((resource_type, names)) = self.identity(&mut fields, parent, loops) else {
                    return;
                };
                self.list(
                    children,
                    &format!("{path}.resources"),
                    Some((&resource_type, &names)),
                    loops,
                );
            }
            Ok(Some((resource_type, names))) => {
                let at = self.found.len();
                self.found.push(TemplateResource {
                    path,
                    resource_type,
                    names,
                    fields,
                });
                let Some(children) = children else { return };
                let (path, resource_type, names) = {
                    let found = &self.found[at];
                    (
                        format!("{}.resources", found.path),
                        found.resource_type.clone(),
                        found.names.clone(),
                    )
                };
                self.list(children, &path, Some((&resource_type, &names)), loops);
            }
        }
    }

    /// Type and names, with the fields evaluated; `None` where the condition is false.
    fn evaluated(
        &self,
        fields: &mut Fields<'_>,
        parent: Parent<'_>,
        loops: &Loops,
    ) -> Result<Option<(String, Vec<String>)>, ArmError> {
        if let Some(mut condition) = fields.take("condition") {
            self.evaluator
                .evaluate(&mut condition, loops)
                .map_err(|e| within(e, ".condition"))?;
            match condition {
                Node::Bool(true) => {}
                Node::Bool(false) => return Ok(None),
                Node::Text(text) if text.eq_ignore_ascii_case("true") => {}
                Node::Text(text) if text.eq_ignore_ascii_case("false") => return Ok(None),
                _ => return Err(invalid("A condition must be true or false.").at(".condition")),
            }
        }
        let identity = self.identity(fields, parent, loops)?;
        for (name, value) in fields.iter_mut() {
            self.evaluator
                .evaluate(value, loops)
                .map_err(|e| within(e, &format!(".{name}")))?;
        }
        Ok(Some(identity))
    }

    /// Takes `type` and `name`, in full: a nested child's have only the last segment.
    fn identity(
        &self,
        fields: &mut Fields<'_>,
        parent: Parent<'_>,
        loops: &Loops,
    ) -> Result<(String, Vec<String>), ArmError> {
        let mut text = |name: &str| {
            let path = format!(".{name}");
            let mut value = fields
                .take(name)
                .ok_or_else(|| invalid(format!("The resource has no {name}: add it.")))?;
            self.evaluator
                .evaluate(&mut value, loops)
                .map_err(|e| within(e, &path))?;
            match value {
                Node::Text(text) => Ok(text.into_owned()),
                _ => Err(invalid(format!("The {name} of a resource is a string.")).at(path)),
            }
        };
        // The resources of a template with symbolic names carry their API version in the type.
        let mut resource_type = text("type")?
            .split('@')
            .next()
            .unwrap_or_default()
            .to_owned();
        let name = text("name")?;
        let mut names: Vec<String> = name.split('/').map(str::to_owned).collect();
        if let Some((parent_type, parent_names)) = parent {
            if !resource_type.contains('/') {
                resource_type = format!("{parent_type}/{resource_type}");
            }
            if names.len() == 1 {
                names = parent_names.iter().cloned().chain(names).collect();
            }
        }
        let wanted = resource_type.split('/').count() - 1;
        if wanted == 0 {
            return Err(invalid(format!(
                "'{}' is no resource type: write it like Microsoft.Network/virtualNetworks.",
                cut(&resource_type)
            ))
            .at(".type"));
        }
        if names.len() != wanted {
            return Err(invalid(format!(
                "The name '{}' of a {} must have {wanted} segment(s): name the \
                 resource below its parents, as in 'VNet1/FrontEnd'.",
                cut(&name),
                cut(&resource_type)
            ))
            .at(".name"));
        }
        Ok((resource_type, names))
    }
}
