/* All that works on vectors of FC_WIDE lanes. */

#include "pool_lanes.h"
#include "pool_apart.h"
#include "pool_runs.h"
#undef FC_WIDE
