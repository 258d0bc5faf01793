//! Requests that wait: in crowds, with bodies, and clients that leave.

mod crowds;
mod disconnects;
mod held_bodies;
mod load;
mod settling;
