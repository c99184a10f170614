/* What may follow a sum before it is stored, besides its bias; flags beside those of a panel's end. */
#ifndef FASTCONV_ACTIVATION_H
#define FASTCONV_ACTIVATION_H

enum {
    FC_RELU = 4,   /* what is below zero becomes zero */
    FC_RELU6 = 16, /* and what is above 6 becomes 6 */
};

#endif
