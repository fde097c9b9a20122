"""The write endpoint: values of direct views, checked, written through the direct lane, answered one by one."""
