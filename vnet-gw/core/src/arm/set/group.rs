//! Resource groups.

use super::ChangeSet;
use crate::{
    arm::{GroupId, Outcome, ResourceGroup, Target},
    model::{ArmError, ResourceId, normalise_location},
};

impl ChangeSet<'_> {
    pub(super) fn group(&self, id: &GroupId) -> Option<&ResourceGroup> {
        match self.groups.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.base.groups.get(id),
        }
    }

    /// The group that a resource is in: it comes before what is in it.
    pub(super) fn needed_group(&self, target: &Target) -> Result<&ResourceGroup, ArmError> {
        let id = target.group();
        self.group(&id).ok_or_else(|| {
            let message = format!("Resource group '{}' could not be found.", id.name);
            ArmError::new("ResourceGroupNotFound", message).at(target.id.as_str())
        })
    }

    pub(super) fn put_group(&mut self, group: &ResourceGroup) -> Result<Outcome, ArmError> {
        let location = normalise_location(&group.location);
        let Some(known) = self.group(&group.id) else {
            let group = ResourceGroup {
                location,
                ..group.clone()
            };
            self.groups.insert(group.id.clone(), Some(group));
            return Ok(Outcome::Created);
        };
        if known.location != location {
            let message = format!(
                "Invalid resource group location '{}'. The resource group already exists in \
                 location '{}'.",
                location, known.location
            );
            let at = known.id.to_string();
            return Err(ArmError::new("InvalidResourceGroupLocation", message).at(at));
        }
        if known.tags == group.tags {
            return Ok(Outcome::Unchanged);
        }
        // Its name stays as it was first written.
        let changed = ResourceGroup {
            tags: group.tags.clone(),
            ..known.clone()
        };
        self.groups.insert(changed.id.clone(), Some(changed));
        Ok(Outcome::Updated)
    }

    /// With everything in it.
    pub(super) fn delete_group(&mut self, group: &GroupId) -> Outcome {
        if self.group(group).is_none() {
            return Outcome::Absent;
        }
        let new = self.documents.iter().filter(|(_, d)| d.is_some());
        let new = new.map(|(id, _)| id).filter(|id| group.contains(id));
        let inside: Vec<ResourceId> = self.base.in_group(group).chain(new).cloned().collect();
        for id in inside {
            if self.document(&id).is_some() {
                self.remove(&id);
            }
        }
        self.groups.insert(group.clone(), None);
        Outcome::Deleted
    }
}
