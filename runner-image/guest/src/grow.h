#ifndef ARCHITECT_GROW_H
#define ARCHITECT_GROW_H

/* Grows the mounted root file system to its device's size. Answers 0, or -1 with errno set. */
int grow_root(void);

#endif
