//! Something of each project, by its index.

/// Values by the indices of projects; the default where there is none yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerProject<T>(Vec<T>);

impl<T: Copy + Default> PerProject<T> {
    /// This project's.
    pub(crate) fn get(&self, project: usize) -> T {
        self.0.get(project).copied().unwrap_or_default()
    }

    /// Changes this project's.
    pub(crate) fn change(&mut self, project: usize, change: impl FnOnce(&mut T)) {
        if self.0.len() <= project {
            self.0.resize(project.saturating_add(1), T::default());
        }
        if let Some(of_project) = self.0.get_mut(project) {
            change(of_project);
        }
    }

    /// Those of all projects that have one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}
