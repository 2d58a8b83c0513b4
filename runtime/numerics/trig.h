#pragma once

// sin, cos, logarithms and real powers in double precision from additions, multiplications and
// divisions only, so that the tables built from them have the same bits on every machine (libm's
// differ). Pure.

namespace troupe {

struct SinCos {
  double sin, cos;
};
// Returns both within 1e-15 of the true values for |angle| <= 2^20 (in radians; this bound is
// checked).
SinCos sin_cos(double angle);

// Returns the natural logarithm of x > 0 (a normal number), with a relative error below 1e-14.
double natural_log(double x);

// Returns base^exponent, with a relative error below 1e-14, for base in [2^-60, 2^60] and
// |exponent| <= 16.
double power(double base, double exponent);

}  // namespace troupe
