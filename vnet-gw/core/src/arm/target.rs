//! What an id or the path of a URL names.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

use crate::model::{ArmError, Kind, ResourceId, cut};

const PROVIDER: &str = "Microsoft.Network";

/// ARM takes no longer ids; names, subscription and group are bounded besides.
const LONGEST_PATH: usize = 2_048;

/// The longest name of a resource group, and of a subscription here.
const LONGEST_SEGMENT: usize = 90;

/// `/subscriptions/S/resourceGroups/G`; compares without case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupId {
    pub subscription: String,
    /// As first written.
    pub name: String,
}

/// One resource of the types that are carried out: top-level, or a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: Kind,
    pub id: ResourceId,
    /// The top-level resource it is in: itself, where it is one.
    pub document: ResourceId,
}

/// What a GET without a name lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    pub kind: Kind,
    pub scope: Scope,
}

/// Where the resources of a [`Collection`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `/subscriptions/S/providers/Microsoft.Network/virtualNetworks`
    Subscription(String),
    /// `/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/virtualNetworks`
    Group(GroupId),
    /// `…/virtualNetworks/V/subnets`
    Parent(Target),
}

impl GroupId {
    /// From its two names.
    ///
    /// # Errors
    ///
    /// `InvalidSubscriptionId`, `InvalidResourceGroup`
    pub fn new(subscription: &str, name: &str) -> Result<Self, ArmError> {
        check_subscription(subscription)?;
        let good = is_segment(name) && !name.ends_with('.');
        if !good {
            return Err(ArmError::new(
                "InvalidResourceGroup",
                format!(
                    "'{}' cannot be the name of a resource group: use 1 to {LONGEST_SEGMENT} \
                     letters, digits, '-', '_', '.', '(' and ')', and no '.' at the end.",
                    cut(name)
                ),
            ));
        }
        Ok(Self {
            subscription: subscription.to_owned(),
            name: name.to_owned(),
        })
    }

    /// From `/subscriptions/S/resourceGroups/G`, in any case.
    ///
    /// # Errors
    ///
    /// `InvalidResourceId`, and those of [`new`](Self::new).
    pub fn parse(path: &str) -> Result<Self, ArmError> {
        let segments = segments(path)?;
        match segments[..] {
            [subscriptions, s, groups, name]
                if is(subscriptions, "subscriptions") && is(groups, "resourceGroups") =>
            {
                Self::new(s, name)
            }
            _ => Err(wrong(path)),
        }
    }

    /// The group that a resource is in.
    pub fn of(id: &ResourceId) -> Self {
        let mut segments = id.group().split('/').skip(2).step_by(2);
        let mut next = || segments.next().unwrap_or_default().to_owned();
        Self {
            subscription: next(),
            name: next(),
        }
    }

    /// In lower case: equal ids have equal keys.
    pub fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }

    /// Whether a resource is in it.
    pub fn contains(&self, id: &ResourceId) -> bool {
        Self::of(id) == *self
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        // A separator that is in neither name, so that pairs compare as their ids do.
        let bytes = self.subscription.bytes().chain([0]);
        bytes
            .chain(self.name.bytes())
            .map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for GroupId {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for GroupId {}
impl PartialOrd for GroupId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for GroupId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/subscriptions/{}/resourceGroups/{}",
            self.subscription, self.name
        )
    }
}

impl Target {
    /// From a full id or the path of a URL (without its query, percent-decoded). Provider and types
    /// become Azure's, whatever case they are written in.
    ///
    /// # Errors
    ///
    /// `InvalidResourceId` where it is no id of a resource, `InvalidSubscriptionId`,
    /// `InvalidResourceGroup`, `InvalidResourceNamespace`, `InvalidResourceType` (another provider,
    /// a type that is not carried out), `InvalidResourceName`.
    pub fn parse(path: &str) -> Result<Self, ArmError> {
        let Parsed {
            group: Some(group),
            types,
            names,
            ..
        } = Parsed::of(path)?
        else {
            return Err(wrong(path));
        };
        if types.is_empty() || types.len() != names.len() {
            return Err(wrong(path));
        }
        let kind = kind(&types, &names)?;
        Self::of(kind, &group, &names)
    }

    fn of(kind: Kind, group: &GroupId, names: &[&str]) -> Result<Self, ArmError> {
        if let (Some(parent), [first, _]) = (kind.parent(), names) {
            parent.check_name(first)?;
        }
        if let Some(last) = names.last() {
            kind.check_name(last)?;
        }
        Ok(Self::known(kind, &kind.id(&group.to_string(), names)))
    }

    /// Of an id that is known to be of this kind.
    pub(super) fn known(kind: Kind, id: &ResourceId) -> Self {
        let document = match kind.parent() {
            None => id.clone(),
            Some(_) => id.parent(),
        };
        Self {
            kind,
            id: id.clone(),
            document,
        }
    }

    /// The resource group it is in.
    pub fn group(&self) -> GroupId {
        GroupId::of(&self.id)
    }

    /// Whether it is in the document of another resource.
    pub const fn is_child(&self) -> bool {
        self.kind.parent().is_some()
    }

    /// The resource that it is a child of.
    pub fn parent(&self) -> Option<Self> {
        let kind = self.kind.parent()?;
        Some(Self::known(kind, &self.document))
    }

    /// The resource of this type and name in it.
    ///
    /// # Errors
    ///
    /// `InvalidResourceType` where it has no such children, `InvalidResourceName`.
    pub fn child(&self, kind: Kind, name: &str) -> Result<Self, ArmError> {
        if kind.parent() != Some(self.kind) {
            return Err(ArmError::new(
                "InvalidResourceType",
                format!("A {} has no {}.", self.kind.noun(), kind.noun()),
            )
            .at(self.id.as_str()));
        }
        Self::of(kind, &self.group(), &[self.id.name(), name])
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id.as_str())
    }
}

impl Collection {
    /// From the path of a URL (without its query, percent-decoded).
    ///
    /// # Errors
    ///
    /// As [`Target::parse`].
    pub fn parse(path: &str) -> Result<Self, ArmError> {
        let Parsed {
            subscription,
            group,
            types,
            names,
        } = Parsed::of(path)?;
        if types.len() != names.len() + 1 {
            return Err(wrong(path));
        }
        let kind = kind(&types, &names)?;
        let scope = match (group, &names[..]) {
            (Some(group), []) => Scope::Group(group),
            (Some(group), names) => match kind.parent() {
                Some(parent) => Scope::Parent(Target::of(parent, &group, names)?),
                None => return Err(wrong(path)),
            },
            (None, []) => Scope::Subscription(subscription.to_owned()),
            (None, _) => return Err(wrong(path)),
        };
        Ok(Self { kind, scope })
    }
}

/// An id taken apart. Types and names alternate; where the last type has no name, it is a
/// collection.
struct Parsed<'a> {
    subscription: &'a str,
    group: Option<GroupId>,
    types: Vec<&'a str>,
    names: Vec<&'a str>,
}

impl<'a> Parsed<'a> {
    fn of(path: &'a str) -> Result<Self, ArmError> {
        let all = segments(path)?;
        let (subscription, group, rest) = match &all[..] {
            [subscriptions, s, groups, g, providers, rest @ ..]
                if is(subscriptions, "subscriptions")
                    && is(groups, "resourceGroups")
                    && is(providers, "providers") =>
            {
                (*s, Some(GroupId::new(s, g)?), rest)
            }
            [subscriptions, s, providers, rest @ ..]
                if is(subscriptions, "subscriptions") && is(providers, "providers") =>
            {
                check_subscription(s)?;
                (*s, None, rest)
            }
            _ => return Err(wrong(path)),
        };
        let [provider, rest @ ..] = rest else {
            return Err(wrong(path));
        };
        if !is(provider, PROVIDER) {
            return Err(ArmError::new(
                "InvalidResourceNamespace",
                format!(
                    "The resource namespace '{}' is not served here: {PROVIDER} is.",
                    cut(provider)
                ),
            ));
        }
        Ok(Self {
            subscription,
            group,
            types: rest.iter().step_by(2).copied().collect(),
            names: rest.iter().skip(1).step_by(2).copied().collect(),
        })
    }
}

/// The segments of an absolute path; a slash at its end does not count.
fn segments(path: &str) -> Result<Vec<&str>, ArmError> {
    if path.len() > LONGEST_PATH {
        return Err(ArmError::new(
            "InvalidResourceId",
            format!("The id is longer than {LONGEST_PATH} characters: shorten it."),
        ));
    }
    let inner = path.strip_prefix('/').ok_or_else(|| wrong(path))?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let segments: Vec<&str> = inner.split('/').collect();
    let good = segments
        .iter()
        .all(|segment| !segment.is_empty() && !segment.contains(|c: char| c.is_control()));
    match good {
        true => Ok(segments),
        false => Err(wrong(path)),
    }
}

fn is(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

fn is_segment(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.()".contains(&b);
    (1..=LONGEST_SEGMENT).contains(&text.len())
        && text.bytes().all(allowed)
        && text.bytes().any(|b| b != b'.')
}

fn check_subscription(text: &str) -> Result<(), ArmError> {
    if is_segment(text) {
        return Ok(());
    }
    Err(ArmError::new(
        "InvalidSubscriptionId",
        format!(
            "The provided subscription identifier '{}' is malformed or invalid.",
            cut(text)
        ),
    ))
}

fn wrong(path: &str) -> ArmError {
    ArmError::new(
        "InvalidResourceId",
        format!(
            "'{}' is not the id of a resource: write \
             /subscriptions/…/resourceGroups/…/providers/{PROVIDER}/TYPE/NAME.",
            cut(path)
        ),
    )
}

/// The kind of a list of types.
fn kind(types: &[&str], names: &[&str]) -> Result<Kind, ArmError> {
    // The words of a type are few; the error shows the beginning of what is long.
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Kind::of(&format!("{PROVIDER}/{}", types.join("/")), &names)
}

#[cfg(test)]
mod tests;
