//! The `resources` of a template: which there are, with conditions decided, loops unrolled and
//! nested children found. What a resource says is evaluated later, when its turn has come.

use super::{
    around::Around,
    evaluate::{Evaluator, invalid, within},
    node::{Fields, Node},
};
use crate::model::{
    ArmError,
    error::{Errors, cut},
};

/// One resource of a template: what a resource with a copy loop becomes for each index.
pub(crate) struct Instance<'n> {
    /// Where it stands in the template: `resources[2]`.
    pub(crate) path: String,
    /// In full: `Microsoft.Network/virtualNetworks/subnets`.
    pub(crate) resource_type: String,
    /// One for each segment of the type: `VNet1`, `FrontEnd`.
    pub(crate) names: Vec<String>,
    /// The name that `languageVersion` 2.0 gives it.
    pub(crate) symbolic: Option<String>,
    /// The name of its copy loop.
    pub(crate) copy: Option<String>,
    /// As evaluated: ids, names, symbolic names, names of copy loops.
    pub(crate) depends_on: Vec<String>,
    pub(crate) role: Role,
    /// As written, without what is read here (`name`, `type`, `condition`, `copy`, `dependsOn`,
    /// `resources`).
    pub(crate) fields: Fields<'n>,
    /// The loops it is in.
    pub(crate) around: Around<'static>,
}

/// What is to be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Deployed,
    /// Its condition does not hold.
    Skipped,
    /// Of another deployment, named so that references can be symbolic.
    Existing,
}

/// What a resource that a loop makes costs, in bytes made.
const EACH: usize = 16 << 10;

/// Lists the resources of the array, or of the object of symbolic names that `languageVersion` 2.0
/// has; parents before their nested children.
pub(crate) fn list<'n>(
    evaluator: &Evaluator<'_>,
    resources: Node<'n>,
    around: &Around<'static>,
    errors: &mut Errors,
) -> Vec<Instance<'n>> {
    let mut reader = Reader {
        evaluator,
        errors,
        found: Vec::new(),
    };
    let place = Place {
        parent: None,
        around,
    };
    reader.list(resources, "resources", &place);
    reader.found
}

struct Reader<'e, 't, 'n> {
    evaluator: &'e Evaluator<'t>,
    errors: &'e mut Errors,
    found: Vec<Instance<'n>>,
}

/// Where a list of resources stands.
struct Place<'a> {
    /// Full type and names of the resource around it.
    parent: Option<(&'a str, &'a [String])>,
    around: &'a Around<'static>,
}

/// How a resource came to be: its symbolic name and the name of its copy loop.
#[derive(Clone, Copy, Default)]
struct Called<'a> {
    symbolic: Option<&'a str>,
    copy: Option<&'a str>,
}

impl<'n> Reader<'_, '_, 'n> {
    fn list(&mut self, resources: Node<'n>, path: &str, place: &Place<'_>) {
        match resources {
            Node::Array(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    self.resource(item, format!("{path}[{index}]"), Called::default(), place);
                }
            }
            Node::Object(items) => {
                for (name, item) in items.into_pairs() {
                    let called = Called {
                        symbolic: Some(&name),
                        copy: None,
                    };
                    self.resource(item, format!("{path}.{}", cut(&name)), called, place);
                }
            }
            Node::Null => {}
            _ => self
                .errors
                .push(invalid("This must be an array of resources.").at(path)),
        }
    }

    fn resource(
        &mut self,
        resource: Node<'n>,
        path: String,
        called: Called<'_>,
        place: &Place<'_>,
    ) {
        let Node::Object(mut fields) = resource else {
            return self
                .errors
                .push(invalid("A resource is an object.").at(path));
        };
        let Some(copy) = fields.take("copy") else {
            return self.instance(fields, path, called, place);
        };
        let Node::Object(mut copy) = copy else {
            return self
                .errors
                .push(invalid("A copy is an object: {name, count}.").at(path + ".copy"));
        };
        let copy_path = format!("{path}.copy");
        let read = self.evaluator.copy_loop(&mut copy, place.around);
        let read = read.and_then(|(name, count)| {
            let cost = self.evaluator.spend_bytes(count.saturating_mul(EACH));
            cost.map_err(|error| error.at(".count"))?;
            Ok((name, count))
        });
        match read {
            Ok((name, count)) => {
                let called = Called {
                    copy: Some(&name),
                    ..called
                };
                for index in 0..count {
                    let path = format!("{path}.copy[{index}]");
                    let around = place.around.with(&name, index);
                    let place = Place {
                        around: &around,
                        ..*place
                    };
                    self.instance(fields.clone(), path, called, &place);
                }
            }
            Err(error) => self.errors.push(within(error, &copy_path)),
        }
    }

    fn instance(
        &mut self,
        mut fields: Fields<'n>,
        path: String,
        called: Called<'_>,
        place: &Place<'_>,
    ) {
        let children = fields.take("resources");
        let existing = fields.get("existing") == Some(&Node::Bool(true));
        let role = match self.condition(&mut fields, place.around) {
            _ if existing => Ok(Role::Existing),
            Ok(true) => Ok(Role::Deployed),
            Ok(false) => Ok(Role::Skipped),
            Err(error) => Err(error),
        };
        let read = role.and_then(|role| match self.identity(&mut fields, place) {
            Ok((resource_type, names)) if role == Role::Deployed => {
                let depends_on = self.depends_on(&mut fields, place.around)?;
                Ok(Some((role, resource_type, names, depends_on)))
            }
            Ok((resource_type, names)) => Ok(Some((role, resource_type, names, Vec::new()))),
            // What is not deployed may be called what it likes.
            Err(_) if role != Role::Deployed => Ok(None),
            Err(error) => Err(error),
        });
        let (role, resource_type, names, depends_on) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return,
            Err(error) => {
                self.evaluator
                    .hide_keys(&Node::Object(fields), place.around);
                return self.errors.push(within(error, &path));
            }
        };
        let instance = Instance {
            path: path.clone(),
            resource_type,
            names,
            symbolic: called.symbolic.map(str::to_owned),
            copy: called.copy.map(str::to_owned),
            depends_on,
            role,
            fields,
            around: place.around.clone(),
        };
        let (resource_type, names) = match &children {
            Some(_) => (instance.resource_type.clone(), instance.names.clone()),
            None => Default::default(),
        };
        self.found.push(instance);
        // The children of one that is not deployed stand on their own, as in ARM.
        if let Some(children) = children {
            let place = Place {
                parent: Some((&resource_type, &names)),
                around: place.around,
            };
            self.list(children, &format!("{path}.resources"), &place);
        }
    }

    fn condition(&self, fields: &mut Fields<'_>, around: &Around<'_>) -> Result<bool, ArmError> {
        let Some(mut condition) = fields.take("condition") else {
            return Ok(true);
        };
        self.evaluator
            .evaluate(&mut condition, around)
            .map_err(|e| within(e, ".condition"))?;
        match condition {
            Node::Bool(holds) => Ok(holds),
            Node::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Node::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(invalid("A condition must be true or false.").at(".condition")),
        }
    }

    fn depends_on(
        &self,
        fields: &mut Fields<'_>,
        around: &Around<'_>,
    ) -> Result<Vec<String>, ArmError> {
        let Some(mut depends_on) = fields.take("dependsOn") else {
            return Ok(Vec::new());
        };
        self.evaluator
            .evaluate(&mut depends_on, around)
            .map_err(|e| within(e, ".dependsOn"))?;
        let wrong = || invalid("This must be an array of ids and names.").at(".dependsOn");
        match depends_on {
            Node::Null => Ok(Vec::new()),
            Node::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Node::Text(text) => Ok(text.into_owned()),
                    _ => Err(wrong()),
                })
                .collect(),
            _ => Err(wrong()),
        }
    }

    /// Takes `type` and `name`, in full: a nested child's have only the last segment.
    fn identity(
        &self,
        fields: &mut Fields<'_>,
        place: &Place<'_>,
    ) -> Result<(String, Vec<String>), ArmError> {
        let mut text = |name: &str| {
            let path = format!(".{name}");
            let mut value = fields
                .take(name)
                .ok_or_else(|| invalid(format!("The resource has no {name}: add it.")))?;
            self.evaluator
                .evaluate(&mut value, place.around)
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
        if let Some((parent_type, parent_names)) = place.parent {
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

impl Instance<'_> {
    /// Evaluates what it says, in place.
    ///
    /// # Errors
    ///
    /// With the path in the template.
    pub(crate) fn evaluate(
        &self,
        fields: &mut Fields<'_>,
        evaluator: &Evaluator<'_>,
        around: &Around<'_>,
    ) -> Result<(), ArmError> {
        for (name, value) in fields.iter_mut() {
            evaluator
                .evaluate(value, around)
                .map_err(|e| within(within(e, &format!(".{name}")), &self.path))?;
        }
        Ok(())
    }

    /// Hides its keys, where it will not be evaluated.
    pub(crate) fn hide_keys(&self, evaluator: &Evaluator<'_>) {
        for (name, value) in self.fields.iter() {
            evaluator.hide_key(name, value, &self.around);
        }
    }

    /// `Microsoft.Network/virtualNetworks/VNet1/subnets/FrontEnd`
    pub(crate) fn relative_id(&self) -> String {
        interleave(&self.resource_type, &self.names)
    }
}

/// A type and its names as they alternate in an id.
pub(crate) fn interleave(resource_type: &str, names: &[String]) -> String {
    let mut types = resource_type.split('/');
    let mut id = types.next().unwrap_or_default().to_owned();
    for (segment, name) in types.zip(names) {
        id.push('/');
        id.push_str(segment);
        id.push('/');
        id.push_str(name);
    }
    id
}
