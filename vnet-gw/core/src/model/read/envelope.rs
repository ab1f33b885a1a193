//! What every resource has around its properties.

use std::collections::BTreeMap;

use crate::model::{
    ArmError, ResourceId,
    error::{Errors, cut},
    id::Kind,
    object::{HARMLESS, Object, READ, REFUSED, Schema, format_error},
    path::Path,
    template::{TemplateResource, node::Node},
};

const ENVELOPE: Schema = &[
    ("id", READ),
    ("location", READ),
    ("tags", READ),
    ("properties", READ),
    ("apiVersion", HARMLESS),
    ("comments", HARMLESS),
    ("metadata", HARMLESS),
    ("etag", HARMLESS),
    // A child of a loop is unrolled already, an existing resource gone.
    ("existing", HARMLESS),
    ("asserts", HARMLESS),
    // Left empty by exports; the networks of this version have none.
    ("sku", REFUSED),
    ("kind", REFUSED),
    ("plan", REFUSED),
    ("identity", REFUSED),
    ("zones", REFUSED),
    ("extendedLocation", REFUSED),
    ("managedBy", REFUSED),
    ("scope", REFUSED),
    ("subscriptionId", REFUSED),
    ("resourceGroup", REFUSED),
];

/// Tags that mean something here, all of a networkInterface.
pub(super) const TAG_DEVICE: &str = "vnet-gw:device";
pub(super) const TAG_HOST: &str = "vnet-gw:host";
const TAG_PREFIX: &str = "vnet-gw:";

/// A resource's id and what it says.
pub(super) struct Envelope<'a> {
    pub(super) id: ResourceId,
    pub(super) location: Option<&'a str>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) properties: &'a Node<'a>,
    path: &'a str,
    root: Path<'a>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(
        resource: &'a TemplateResource<'a>,
        kind: Kind,
        group: &str,
        errors: &mut Errors,
    ) -> Option<Self> {
        let root = Path::Root(&resource.path);
        // `object` borrows a path that lives no longer than this call; the fields live on.
        let object = Object::of(&resource.fields, &root, ENVELOPE, errors);
        let id = identity(resource, kind, group, &object, errors);
        for name in &resource.names {
            if let Err(error) = kind.check_name(name) {
                errors.push(error.at(format!("{}.name", resource.path)));
                return None;
            }
        }
        let tags = tags(kind, field(resource, "tags"), &root.key("tags"), errors);
        let location = match field(resource, "location") {
            None => None,
            Some(Node::Text(text)) => Some(text.as_ref()),
            Some(_) => {
                errors.push(format_error(
                    "This must be a string.",
                    &root.key("location"),
                ));
                None
            }
        };
        let properties = field(resource, "properties").unwrap_or(&Node::Null);
        Some(Self {
            id: id?,
            location,
            tags,
            properties,
            path: &resource.path,
            root,
        })
    }

    pub(super) fn path_text(&self) -> &str {
        self.path
    }

    pub(super) fn properties_path(&self) -> Path<'_> {
        self.root.key("properties")
    }
}

fn field<'a>(resource: &'a TemplateResource<'a>, name: &str) -> Option<&'a Node<'a>> {
    resource
        .fields
        .get(name)
        .filter(|value| !matches!(value, Node::Null))
}

/// The id: of the deployment's resource group, unless the resource says its own, as those that a
/// REST client shows do.
fn identity(
    resource: &TemplateResource<'_>,
    kind: Kind,
    group: &str,
    object: &Object<'_, '_>,
    errors: &mut Errors,
) -> Option<ResourceId> {
    let made = kind.id(group, &resource.names);
    let Some(written) = object.text("id", errors) else {
        return Some(made);
    };
    let path = object.path.key("id");
    let id = kind
        .resolve(written, group)
        .map_err(|error| error.at(path.to_string()));
    let id = errors.keep(id)?;
    let tail = |id: &ResourceId| {
        id.key()
            .split_once("/providers/")
            .map(|(_, tail)| tail.to_owned())
            .unwrap_or_default()
    };
    if tail(&id) != tail(&made) {
        errors.push(
            ArmError::new(
                "InvalidTemplate",
                format!(
                    "The id {} is not that of {made}: correct the id, the name or the type.",
                    cut(written)
                ),
            )
            .at(path.to_string()),
        );
        return None;
    }
    Some(id)
}

fn tags(
    kind: Kind,
    value: Option<&Node<'_>>,
    path: &Path<'_>,
    errors: &mut Errors,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let fields = match value {
        None => return tags,
        Some(Node::Object(fields)) => fields,
        Some(_) => {
            errors.push(format_error(
                "This must be an object of names and texts.",
                path,
            ));
            return tags;
        }
    };
    for (name, value) in fields.iter() {
        let path = path.key(name);
        let text = match value {
            Node::Text(text) => text.to_string(),
            Node::Null => String::new(),
            Node::Array(_) | Node::Object(_) => {
                errors.push(format_error("The value of a tag is a text.", &path));
                continue;
            }
            value => value.to_value().to_string(),
        };
        let lower = name.to_ascii_lowercase();
        let ours = lower.starts_with(TAG_PREFIX);
        let known = [TAG_DEVICE, TAG_HOST].contains(&lower.as_str());
        if ours && !(known && kind == Kind::NetworkInterface) {
            errors.push(
                ArmError::new(
                    "InvalidTag",
                    format!(
                        "A {} has no tag '{}': the tags are {TAG_DEVICE} and {TAG_HOST}, of \
                         network interfaces; correct or remove it.",
                        kind.noun(),
                        cut(name)
                    ),
                )
                .at(path.to_string()),
            );
        }
        // Names of tags compare without case; those that mean something are kept in one.
        tags.insert(if known { lower } else { name.to_owned() }, text);
    }
    tags
}
