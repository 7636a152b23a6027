/* Run by udev when the disk changed its size. */
#include <string.h>

#include "files.h"
#include "grow.h"

int main(void)
{
	if (grow_root() < 0)
		die("growing the root file system");
	return 0;
}
