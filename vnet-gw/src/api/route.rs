//! What a path names.

use vnet_gw_core::{arm::GroupId, model::Kind};

use super::{Path, Refusal, deployments::Scope};

/// Everything that is served to somebody known, but for the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Tenants,
    Subscriptions,
    Subscription(String),
    Locations(String),
    Providers(Option<String>),
    Provider(Option<String>, String),
    Register(String, String),
    /// Things that clients list, of which there are none.
    Nothing,
    Usages(String, String),
    Operation(String),
    OperationResult(String),
    Activity(String),
    /// All resources of a subscription, or of a group.
    Resources(String, Option<GroupId>),
    Groups(String),
    Group(GroupId),
    ExportGroup(GroupId),
    /// `deployments` in a group or a subscription, with what follows.
    Deployments(Scope, Vec<String>),
    /// `operations` of a deployment.
    DeploymentOperations(GroupId, Vec<String>),
    /// `providers/Microsoft.Resources/tags/default` of a resource or a group.
    Tags(String),
    /// Virtual machines of a subscription, or of a group.
    Machines(String, Option<GroupId>),
    /// A virtual machine.
    Machine(String),
    /// All of a type, in a group or in another resource.
    List,
    /// A resource.
    Resource,
    /// Something that is no resource, below one that is: the resource's path, and what is below.
    Below(String, Vec<String>),
}

impl Route {
    /// # Errors
    ///
    /// `NotFound`
    pub(super) fn of(path: &Path) -> Result<Self, Refusal> {
        let (words, lower) = (path.segments(), path.lower());
        let owned = |at: usize| words[at].to_owned();
        let rest = |from: usize| {
            words[from..]
                .iter()
                .map(|word| (*word).to_owned())
                .collect()
        };
        let group = || GroupId::new(words[1], words[3]);
        let route = match lower.as_slice() {
            [.., "providers", "microsoft.resources", "tags", "default"] => {
                let scope = &words[..words.len() - 4];
                Self::Tags(scope.iter().map(|word| format!("/{word}")).collect())
            }
            ["tenants"] => Self::Tenants,
            ["subscriptions"] => Self::Subscriptions,
            ["providers"] => Self::Providers(None),
            ["providers", _] => Self::Provider(None, owned(1)),
            ["subscriptions", _] => Self::Subscription(owned(1)),
            ["subscriptions", _, "locations"] => Self::Locations(owned(1)),
            ["subscriptions", _, "tagnames"] => Self::Nothing,
            ["subscriptions", _, "resources"] => Self::Resources(owned(1), None),
            ["subscriptions", _, "resourcegroups"] => Self::Groups(owned(1)),
            ["subscriptions", _, "providers"] => Self::Providers(Some(owned(1))),
            ["subscriptions", _, "operationresults", _] => Self::OperationResult(owned(3)),
            ["subscriptions", _, "providers", _] => Self::Provider(Some(owned(1)), owned(3)),
            ["subscriptions", _, "providers", _, "register"] => Self::Register(owned(1), owned(3)),
            [
                "subscriptions",
                _,
                "providers",
                _,
                "locations",
                _,
                "operations",
                _,
            ] => Self::Operation(owned(7)),
            [
                "subscriptions",
                _,
                "providers",
                _,
                "locations",
                _,
                "operationresults",
                _,
            ] => Self::OperationResult(owned(7)),
            [
                "subscriptions",
                _,
                "providers",
                "microsoft.network",
                "locations",
                _,
                "usages",
            ] => Self::Usages(owned(1), owned(5)),
            [
                "subscriptions",
                _,
                "providers",
                "microsoft.insights",
                "eventtypes",
                "management",
                "values",
            ] => Self::Activity(owned(1)),
            [
                "subscriptions",
                _,
                "providers",
                "microsoft.authorization",
                "locks",
            ] => Self::Nothing,
            [
                "subscriptions",
                _,
                "providers",
                "microsoft.resources",
                "deployments",
                ..,
            ] => Self::Deployments(Scope::Subscription(owned(1)), rest(5)),
            [
                "subscriptions",
                _,
                "providers",
                "microsoft.compute",
                "virtualmachines",
            ] => Self::Machines(owned(1), None),
            [
                "subscriptions",
                _,
                "resourcegroups",
                _,
                "providers",
                "microsoft.compute",
                "virtualmachines",
                name @ ..,
            ] if name.len() <= 1 => match name {
                [] => Self::Machines(owned(1), Some(group()?)),
                _ => Self::Machine(path.to_string()),
            },
            ["subscriptions", _, "providers", _, _] => Self::List,
            ["subscriptions", _, "resourcegroups", _] => Self::Group(group()?),
            ["subscriptions", _, "resourcegroups", _, "resources"] => {
                Self::Resources(owned(1), Some(group()?))
            }
            ["subscriptions", _, "resourcegroups", _, "exporttemplate"] => {
                Self::ExportGroup(group()?)
            }
            ["subscriptions", _, "resourcegroups", _, "deployments", ..] => {
                Self::DeploymentOperations(group()?, rest(5))
            }
            [
                "subscriptions",
                _,
                "resourcegroups",
                _,
                "providers",
                "microsoft.resources",
                "deployments",
                ..,
            ] => Self::Deployments(Scope::Group(group()?), rest(7)),
            [
                "subscriptions",
                _,
                "resourcegroups",
                _,
                "providers",
                "microsoft.authorization",
                "locks",
            ] => Self::Nothing,
            [
                "subscriptions",
                _,
                "resourcegroups",
                _,
                "providers",
                _,
                _,
                ..,
            ] => Self::in_group(&words),
            _ => return Err(Refusal::no_such_path(&path.to_string())),
        };
        Ok(route)
    }

    /// Below a provider in a group: types and names take turns, and what is no type is an action.
    fn in_group(words: &[&str]) -> Self {
        let rest = &words[6..];
        let types: Vec<&str> = rest.iter().step_by(2).copied().collect();
        let known = || Kind::from_type(&format!("{}/{}", words[5], types.join("/"))).is_some();
        match rest.len() {
            1 => Self::List,
            2 => Self::Resource,
            length if known() && length % 2 == 0 => Self::Resource,
            _ if known() => Self::List,
            _ => Self::Below(
                words[..8].iter().map(|word| format!("/{word}")).collect(),
                rest[2..]
                    .iter()
                    .map(|word| word.to_ascii_lowercase())
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Option<Route> {
        Route::of(&Path::parse(path).unwrap()).ok()
    }

    #[test]
    fn fixed_words_compare_without_case_and_names_are_kept() {
        let group = GroupId {
            subscription: "S".into(),
            name: "Rg".into(),
        };
        assert_eq!(
            route("/Subscriptions/S/resourcegroups/Rg"),
            Some(Route::Group(group.clone()))
        );
        assert_eq!(
            route(
                "/subscriptions/S/resourcegroups/Rg/providers/Microsoft.Resources/deployments/D/validate"
            ),
            Some(Route::Deployments(
                Scope::Group(group),
                vec!["D".into(), "validate".into()]
            ))
        );
        assert_eq!(
            route("/subscriptions/S/providers/Microsoft.Network/locations/l/operationResults/7"),
            Some(Route::OperationResult("7".into()))
        );
    }

    #[test]
    fn what_is_below_a_group_is_a_resource_a_list_or_an_action() {
        let group = "/subscriptions/S/resourceGroups/G/providers/microsoft.network";
        for path in ["virtualnetworks/V", "virtualNetworks/V/Subnets/s", "x/y"] {
            assert_eq!(route(&format!("{group}/{path}")), Some(Route::Resource));
        }
        for path in ["virtualnetworks", "virtualNetworks/V/Subnets", "x"] {
            assert_eq!(route(&format!("{group}/{path}")), Some(Route::List));
        }
        for (path, below) in [
            ("connections/C/sharedKey", vec!["sharedkey"]),
            ("connections/C/sharedkey/reset", vec!["sharedkey", "reset"]),
            ("x/y/z", vec!["z"]),
        ] {
            let Some(Route::Below(resource, rest)) = route(&format!("{group}/{path}")) else {
                panic!("{path}");
            };
            assert!(resource.ends_with("/C") || resource.ends_with("/y"));
            assert_eq!(rest, below);
        }
    }

    #[test]
    fn tags_of_anything() {
        let vnet =
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/virtualNetworks/V";
        assert_eq!(
            route(&format!(
                "{vnet}/providers/Microsoft.Resources/tags/default"
            )),
            Some(Route::Tags(vnet.into()))
        );
    }

    #[test]
    fn other_paths_name_nothing() {
        for path in [
            "/",
            "/metadata",
            "/subscriptions/S/x",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network",
            "/subscriptions/S/providers/Microsoft.Network/a/b",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}
