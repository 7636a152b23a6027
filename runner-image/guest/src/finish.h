#ifndef ARCHITECT_FINISH_H
#define ARCHITECT_FINISH_H

/* What the VM's class promises; zero for what is not to be waited for. */
struct size {
	int vcpus;
	int memory_mib;
};

/* Finishes the clone in a process of its own. Dies when that cannot be started. */
void finish_in_background(struct size size);

#endif
