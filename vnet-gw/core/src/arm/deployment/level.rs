//! The resources of one template: those of the deployment, or of one nested in it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Map, Value};

use super::{
    Evaluator, GroupId, Hidden, Node, ResourceId, Target, invalid, no_group,
    tentative::{Found, Tentative, field},
};
use crate::{
    arm::ResourceGroup,
    model::{
        ArmError, EvaluatedResource, cut,
        error::Errors,
        normalise_location,
        template::{
            around::{Around, Runtime},
            depends::{Dependencies, circular, relative},
            node::Fields,
            resources::{Instance, Role, list},
        },
    },
};

pub(super) const DEPLOYMENTS: &str = "Microsoft.Resources/deployments";
const GROUPS: &str = "Microsoft.Resources/resourceGroups";

/// Where a template's resources go.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) subscription: String,
    /// None in a deployment to a subscription.
    pub(super) group: Option<GroupId>,
    /// How many deployments it is nested in.
    pub(super) depth: usize,
}

impl Place {
    pub(super) fn scope(&self) -> String {
        match &self.group {
            Some(group) => group.to_string(),
            None => format!("/subscriptions/{}", self.subscription),
        }
    }
}

pub(super) struct Level<'l, 't, 'a> {
    pub(super) evaluator: &'l Evaluator<'t>,
    pub(super) tentative: &'l Tentative<'a>,
    pub(super) hidden: &'l Hidden,
    pub(super) place: Place,
}

impl<'l, 't, 'a> Level<'l, 't, 'a> {
    pub(super) fn new(
        evaluator: &'l Evaluator<'t>,
        tentative: &'l Tentative<'a>,
        hidden: &'l Hidden,
        place: Place,
    ) -> Self {
        Self {
            evaluator,
            tentative,
            hidden,
            place,
        }
    }

    /// Deploys the resources, and does what comes after all of them.
    pub(super) fn run<T>(
        &self,
        resources: Node<'_>,
        around: &Around<'static>,
        after: impl FnOnce(&Around<'_>) -> Result<T, ArmError>,
    ) -> Result<T, ArmError> {
        let mut errors = Errors::default();
        let instances = list(self.evaluator, resources, around, &mut errors);
        let run = || {
            errors.into_result()?;
            let dependencies = Dependencies::of(&instances)?;
            let order = dependencies.order(&instances)?;
            let running = Running {
                level: self,
                ids: instances.iter().map(|one| self.id(one)).collect(),
                children: children(&instances, |one| self.id(one)),
                done: RefCell::new(vec![false; instances.len()]),
                instances: &instances,
                waiting: Cell::new(None),
            };
            running.rounds(&dependencies, order)?;
            after(&around.during(&running))
        };
        let result = run();
        if result.is_err() {
            // What was not evaluated may hold the keys that an error shows.
            for instance in &instances {
                instance.hide_keys(self.evaluator);
            }
        }
        result
    }

    /// The id of a resource where it does not say its own.
    fn id(&self, instance: &Instance<'_>) -> String {
        let scope = match instance.resource_type.eq_ignore_ascii_case(GROUPS) {
            true => {
                let name = instance.names.first().map_or("", String::as_str);
                return format!(
                    "/subscriptions/{}/resourceGroups/{name}",
                    self.place.subscription
                );
            }
            false => self.place.scope(),
        };
        format!("{scope}/providers/{}", instance.relative_id())
    }
}

/// Resources below others, by those.
fn children<'n>(
    instances: &[Instance<'n>],
    id: impl Fn(&Instance<'n>) -> String,
) -> BTreeMap<ResourceId, Vec<ResourceId>> {
    let mut found: BTreeMap<ResourceId, Vec<ResourceId>> = BTreeMap::new();
    for instance in instances {
        if instance.role == Role::Deployed && instance.names.len() > 1 {
            let id = ResourceId::new(&id(instance));
            found.entry(id.parent()).or_default().push(id);
        }
    }
    found
}

/// References that wait for one another, one after the other: each round applies what is there.
const MOST_ROUNDS: usize = 100;

/// The resources on their way.
struct Running<'r, 'l, 't, 'a, 'n> {
    level: &'r Level<'l, 't, 'a>,
    instances: &'r [Instance<'n>],
    ids: Vec<String>,
    /// Those of the list that are resources of their own, by their parents.
    children: BTreeMap<ResourceId, Vec<ResourceId>>,
    done: RefCell<Vec<bool>>,
    /// The resource that the last `reference()` waits for.
    waiting: Cell<Option<usize>>,
}

impl Runtime for Running<'_, '_, '_, '_, '_> {
    fn reference(&self, resource: &str, full: bool) -> Result<Value, ArmError> {
        let found = self.find(resource)?;
        let Value::Object(mut found) = found else {
            return Ok(found);
        };
        if full {
            return Ok(Value::Object(found));
        }
        Ok(found.remove("properties").unwrap_or_default())
    }

    fn is_waiting(&self) -> bool {
        self.waiting.get().is_some()
    }
}

impl<'n> Running<'_, '_, '_, '_, 'n> {
    fn find(&self, resource: &str) -> Result<Value, ArmError> {
        self.waiting.set(None);
        let tentative = self.level.tentative;
        let at = self.named(resource);
        let id = match at {
            Some(at) if self.instances[at].role == Role::Skipped => {
                return Err(invalid(format!(
                    "reference('{}') is of a resource whose condition does not hold: ask for it \
                     only within an if().",
                    cut(resource)
                )));
            }
            Some(at) if !self.done.borrow()[at] && self.instances[at].role == Role::Deployed => {
                return Err(self.later(at));
            }
            Some(at) => self.ids[at].clone(),
            None if resource.starts_with('/') => resource.to_owned(),
            None if resource.contains('/') => {
                format!("{}/providers/{resource}", self.level.place.scope())
            }
            None => {
                return Err(invalid(format!(
                    "reference('{}'): the template has no resource of that name; write its \
                     resourceId() if it is there already.",
                    cut(resource)
                )));
            }
        };
        match tentative.find(&id)? {
            Found::Resource(value) => Ok(value),
            Found::Later => Err(self.later(at.unwrap_or(usize::MAX))),
            Found::Nothing => Err(ArmError::new(
                "ResourceNotFound",
                format!(
                    "reference('{}'): there is no such resource; deploy it first, or correct the \
                     id.",
                    cut(resource)
                ),
            )),
        }
    }

    fn later(&self, at: usize) -> ArmError {
        self.waiting.set(Some(at));
        invalid("A resource that is referred to comes first.")
    }

    /// A resource of the template by its symbolic name, its id or its name.
    fn named(&self, resource: &str) -> Option<usize> {
        let all = || self.instances.iter().enumerate();
        if let Some((at, _)) = all().find(|(_, one)| one.symbolic.as_deref() == Some(resource)) {
            return Some(at);
        }
        if resource.starts_with('/') {
            return self
                .ids
                .iter()
                .position(|id| id.eq_ignore_ascii_case(resource));
        }
        let wanted = relative(resource);
        let mut found = all().filter(|(_, one)| {
            one.relative_id().eq_ignore_ascii_case(wanted)
                || one.names.join("/").eq_ignore_ascii_case(wanted)
        });
        // Of several of one name, the one that is deployed.
        let first = found.next()?;
        let rest = found.find(|(_, one)| one.role == Role::Deployed);
        match (first.1.role, rest) {
            (Role::Deployed, _) | (_, None) => Some(first.0),
            (_, Some((at, _))) => Some(at),
        }
    }

    /// Deploys everything, round by round: what waits for something is asked again.
    fn rounds(&self, dependencies: &Dependencies, order: Vec<usize>) -> Result<(), ArmError> {
        let mut seen = BTreeSet::new();
        let mut todo = order;
        for round in 0.. {
            if todo.is_empty() {
                break;
            }
            if round == MOST_ROUNDS {
                return Err(invalid(format!(
                    "The template has more than {MOST_ROUNDS} references in a chain: shorten it."
                ))
                .at(&self.instances[todo[0]].path));
            }
            let mut next = Vec::new();
            let mut waits_for = Vec::new();
            for at in &todo {
                let instance = &self.instances[*at];
                if instance.role != Role::Deployed {
                    self.done.borrow_mut()[*at] = true;
                    continue;
                }
                let before = &dependencies.before[*at];
                let not_yet = before.iter().find(|one| !self.done.borrow()[**one]);
                if let Some(other) = not_yet {
                    waits_for.push(*other);
                    next.push(*at);
                    continue;
                }
                self.waiting.set(None);
                match self.deploy(*at, &mut seen) {
                    Ok(()) => {
                        self.done.borrow_mut()[*at] = true;
                        let on = before.iter().map(|one| self.ids[*one].clone()).collect();
                        self.level.tentative.depends(&self.ids[*at], on);
                    }
                    Err(_) if self.is_waiting() => {
                        waits_for.push(self.waiting.take().unwrap_or(*at));
                        next.push(*at);
                    }
                    Err(error) => return Err(error),
                }
            }
            if next.is_empty() {
                break;
            }
            let stuck = next.len() == todo.len();
            if stuck && !self.level.tentative.waits() {
                return Err(self.circle(&next, &waits_for));
            }
            self.level.tentative.flush()?;
            todo = next;
        }
        Ok(())
    }

    /// Each of `waiting` waits for the one at its place in `waits_for`.
    fn circle(&self, waiting: &[usize], waits_for: &[usize]) -> ArmError {
        let mut walk: Vec<usize> = waiting.first().copied().into_iter().collect();
        while let Some(last) = walk.last() {
            let place = waiting.iter().position(|at| at == last);
            let Some(next) = place.and_then(|place| waits_for.get(place)) else {
                break;
            };
            if let Some(from) = walk.iter().position(|at| at == next) {
                walk.drain(..from);
                break;
            }
            if !waiting.contains(next) {
                break;
            }
            walk.push(*next);
        }
        circular(walk.iter().map(|at| &self.instances[*at]))
    }

    /// Deploys one resource: it becomes a change, or the changes of a nested deployment.
    fn deploy(&self, at: usize, seen: &mut BTreeSet<ResourceId>) -> Result<(), ArmError> {
        let instance = &self.instances[at];
        let level = self.level;
        let around = instance.around.during(self);
        if instance.resource_type.eq_ignore_ascii_case(DEPLOYMENTS) {
            return level.nested(instance, &self.ids[at], &around);
        }
        let mut fields = instance.fields.clone();
        instance.evaluate(&mut fields, level.evaluator, &around)?;
        if instance.resource_type.eq_ignore_ascii_case(GROUPS) {
            return self.group(instance, &fields);
        }
        let Some(group) = &level.place.group else {
            return Err(invalid(format!(
                "A {} goes into a resource group: put it into a nested deployment that names one.",
                cut(&instance.resource_type)
            ))
            .at(&instance.path));
        };
        for name in ["scope", "subscriptionId", "resourceGroup"] {
            if fields.get(name).is_some_and(|value| !value.is_empty()) {
                return Err(ArmError::new(
                    "NotSupported",
                    format!("The '{name}' of a resource is not supported: remove it."),
                )
                .at(format!("{}.{name}", instance.path)));
            }
        }
        let resource = EvaluatedResource::new(
            instance.path.clone(),
            instance.resource_type.clone(),
            instance.names.clone(),
            Vec::new(),
            &fields,
        );
        let place = crate::model::DeployOptions {
            subscription_id: group.subscription.clone(),
            resource_group: group.name.clone(),
            ..Default::default()
        };
        let at_path = |error: ArmError| match error.target {
            Some(_) => error,
            None => error.at(&instance.path),
        };
        let id = resource.id(&place)?;
        let target = Target::parse(id.as_str()).map_err(at_path)?;
        if !seen.insert(target.id.clone()) {
            return Err(resource.twice());
        }
        let children = self.children.get(&target.id);
        let children = children.map(Vec::as_slice).unwrap_or_default();
        level.tentative.put(target, resource.body, children);
        Ok(())
    }

    /// `Microsoft.Resources/resourceGroups`, of a deployment to a subscription.
    fn group(&self, instance: &Instance<'n>, fields: &Fields<'_>) -> Result<(), ArmError> {
        let place = &self.level.place;
        if place.group.is_some() {
            return Err(invalid(
                "A resource group is no resource of a resource group: deploy to the subscription \
                 (az deployment sub create).",
            )
            .at(&instance.path));
        }
        let at = |error: ArmError| error.at(&instance.path);
        let name = instance.names.first().map_or("", String::as_str);
        let id = GroupId::new(&place.subscription, name).map_err(at)?;
        let Some(location) = fields.get("location").and_then(Node::as_str) else {
            return Err(at(ArmError::new(
                "LocationRequired",
                "The location property is required for a resource group.",
            )));
        };
        let mut tags = std::collections::BTreeMap::new();
        let written = fields.get("tags").map(Node::to_value);
        for (name, value) in written
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            tags.insert(name.clone(), text);
        }
        self.level.tentative.put_group(ResourceGroup {
            id,
            location: normalise_location(location),
            tags,
        });
        Ok(())
    }
}

impl Level<'_, '_, '_> {
    /// The group with its name as first written.
    pub(super) fn existing_group(&self, id: &GroupId) -> Result<ResourceGroup, ArmError> {
        self.tentative.group(id).ok_or_else(|| no_group(&id.name))
    }

    /// A member of an object by its name, which compares without case.
    pub(super) fn member<'m>(fields: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
        field(fields, name).filter(|value| !value.is_null())
    }
}
