/* The compiled half of publishing: rows to bytes (_plain.c, _encoder.c), bytes to the Kafka client and acknowledgements
   from it (_direct.c, _answers.c, _intercept.c), and what waits for them (_acks.c). */

#include "_native.h"

int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **place)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    *place = (PyTypeObject *)type; /* kept for as long as the process lives */
    return 0;
}

static int fill(PyObject *module)
{
    return add_acks(module) < 0 || add_direct(module) < 0 || add_encoder(module) < 0 ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "Publishing.", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
