//! Which rule applies to a request, whatever its spelling and its route.

mod allow;
mod neighbours;
mod paths;
mod projects;
mod recipes;
mod routes;
mod rules;
