//! What every resource has around its properties.

use std::collections::BTreeMap;

use crate::model::{
    ArmError, Kind, NetworkInterface, ResourceId,
    error::{Errors, cut},
    object::{HARMLESS, Object, QUIET, READ, REFUSED, Schema, format_error},
    path::Path,
    template::{
        TemplateResource,
        node::{Fields, Node},
    },
};

/// What stands around the properties; of `sku` and `zones` only some kinds have any.
macro_rules! envelope {
    ($sku:expr, $zones:expr) => {
        &[
            ("id", READ),
            ("location", READ),
            ("tags", READ),
            ("properties", READ),
            // Where the resource is named otherwise.
            ("name", QUIET),
            ("type", QUIET),
            ("systemData", QUIET),
            ("apiVersion", QUIET),
            ("comments", QUIET),
            ("metadata", QUIET),
            ("etag", QUIET),
            // A child of a loop is unrolled already, an existing resource gone.
            ("existing", QUIET),
            ("asserts", QUIET),
            ("sku", $sku),
            ("zones", $zones),
            // `Regular`, as exports say of every NIC: it is told, not chosen.
            ("kind", QUIET),
            // Left empty by exports; the networks of this version have none.
            ("plan", REFUSED),
            ("identity", REFUSED),
            ("extendedLocation", REFUSED),
            ("managedBy", REFUSED),
            ("scope", REFUSED),
            ("subscriptionId", REFUSED),
            ("resourceGroup", REFUSED),
        ]
    };
}

const ENVELOPE: Schema = envelope!(REFUSED, REFUSED);
// A host has no availability zones, and an address is where its host is.
const PUBLIC_IP_ADDRESS: Schema = envelope!(READ, HARMLESS);

/// Tags that mean something here.
pub(super) const TAG_DEVICE: &str = "vnet-gw:device";
pub(super) const TAG_HOST: &str = "vnet-gw:host";
pub(super) const TAG_BANDWIDTH: &str = "vnet-gw:bandwidth";
pub(super) const TAG_LOCAL_ID: &str = "vnet-gw:local-id";
pub(super) const TAG_REMOTE_ID: &str = "vnet-gw:remote-id";
pub(super) const TAG_ENCAPSULATION: &str = "vnet-gw:encapsulation";
pub(super) const TAG_POST_QUANTUM: &str = "vnet-gw:post-quantum";
const TAG_PREFIX: &str = "vnet-gw:";

const fn tags_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::NetworkInterface => &[TAG_DEVICE, TAG_HOST, NetworkInterface::TAG_MACHINE],
        Kind::VirtualNetworkGateway => &[TAG_HOST, TAG_BANDWIDTH],
        Kind::Connection => &[
            TAG_LOCAL_ID,
            TAG_REMOTE_ID,
            TAG_ENCAPSULATION,
            TAG_POST_QUANTUM,
        ],
        _ => &[],
    }
}

/// A resource's id and what it says.
pub(super) struct Envelope<'a> {
    pub(super) id: ResourceId,
    pub(super) location: Option<&'a str>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) properties: &'a Node<'a>,
    /// Of kinds that have one.
    pub(super) sku: &'a Node<'a>,
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
        let object = Object::of(&resource.fields, &root, schema(kind), errors);
        let id = identity(resource, kind, group, &object, errors);
        for name in &resource.names {
            if let Err(error) = kind.check_name(name) {
                errors.push(error.at(format!("{}.name", resource.path)));
                return None;
            }
        }
        Some(Self::of(
            id?,
            kind,
            &resource.path,
            &resource.fields,
            errors,
        ))
    }

    /// Of a resource whose id and names were looked at before.
    pub(super) fn of_document(
        id: &ResourceId,
        kind: Kind,
        fields: &'a Fields<'a>,
        errors: &mut Errors,
    ) -> Self {
        let root = Path::Root("");
        Object::of(fields, &root, schema(kind), errors);
        Self::of(id.clone(), kind, "", fields, errors)
    }

    fn of(
        id: ResourceId,
        kind: Kind,
        path: &'a str,
        fields: &'a Fields<'a>,
        errors: &mut Errors,
    ) -> Self {
        let root = Path::Root(path);
        let tags = tags(kind, field(fields, "tags"), &root.key("tags"), errors);
        let location = match field(fields, "location") {
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
        Self {
            id,
            location,
            tags,
            properties: field(fields, "properties").unwrap_or(&Node::Null),
            sku: field(fields, "sku").unwrap_or(&Node::Null),
            path,
            root,
        }
    }

    pub(super) fn path_text(&self) -> &str {
        self.path
    }

    pub(super) fn sku_path(&self) -> Path<'_> {
        self.root.key("sku")
    }

    /// `InvalidTag` at one of the tags.
    pub(super) fn tag_error(&self, tag: &str, message: impl Into<String>) -> ArmError {
        let path = self.root.key("tags").key(tag).to_string();
        ArmError::new("InvalidTag", message).at(path)
    }

    /// The tag of the host that a resource lives on.
    pub(super) fn host(&self, errors: &mut Errors) -> Option<String> {
        let host = self.tags.get(TAG_HOST).cloned();
        if host.as_deref().is_some_and(|host| host.trim().is_empty()) {
            let message = "The host has no name: remove the tag for this host.";
            errors.push(self.tag_error(TAG_HOST, message));
        }
        host
    }

    pub(super) fn properties_path(&self) -> Path<'_> {
        self.root.key("properties")
    }
}

const fn schema(kind: Kind) -> Schema {
    match kind {
        Kind::PublicIpAddress => PUBLIC_IP_ADDRESS,
        _ => ENVELOPE,
    }
}

fn field<'a>(fields: &'a Fields<'a>, name: &str) -> Option<&'a Node<'a>> {
    fields
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
        let of_kind = tags_of(kind);
        let known = of_kind.contains(&lower.as_str());
        if ours && !known {
            let noun = kind.noun();
            let what = match of_kind {
                [] => format!("tags of a {noun} mean nothing here"),
                _ => format!("its tags are {}", of_kind.join(", ")),
            };
            errors.push(
                ArmError::new(
                    "InvalidTag",
                    format!(
                        "A {noun} has no tag '{}': {what}; correct or remove it.",
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
