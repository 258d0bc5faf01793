//! Which rule applies to a request, whatever its spelling and its route.

mod paths;
mod routes;
mod rules;
