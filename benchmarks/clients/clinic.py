"""A clinic's front desk: doctors, appointments and samples of a group practice."""

from itertools import cycle

from benchmarks.clients.desk import Desk, Record, Tables, UnknownRecord

_PATIENTS = (
    "Gregor Palmer", "Ilse Vandamme", "Solomon Addo", "Beatriz Luna", "Henrik Dahl", "Yara Nassar", "Colin Marsh",
    "Mei Tanaka", "Anton Kovac", "Rosa Pellegrini", "Deepak Joshi", "Greta Stern", "Fatima Zahra", "Liam Doyle",
    "Elena Popescu", "Viktor Lang", "Nadia Petrov", "Osman Karaca", "Julia Sommer", "Bruno Costa", "Signe Bakke",
    "Ashok Bhandari", "Wanda Nowak", "Pierre Lacroix",
)  # fmt: skip
_DOCTORS = (
    "Nwosu", "Hartmann", "Castellano", "Ishikawa", "Grundy", "Vasquez", "Eriksen", "Mahmoud", "Bellamy", "Sorokin",
    "Achterberg", "Pillai", "Rousseau", "Whitlock", "Zielinski", "Adeyemi", "Fontaine", "Kristiansen", "Moretti", "Tan",
)  # fmt: skip
_SPECIALTIES = (
    "cardiology", "dermatology", "neurology", "paediatrics", "orthopaedics", "urology", "oncology", "radiology",
    "psychiatry", "gynaecology", "endocrinology", "rheumatology", "pulmonology", "nephrology", "haematology",
    "ophthalmology", "geriatrics", "allergology", "gastroenterology", "physiotherapy",
)  # fmt: skip
_MEDICINES = (
    "amoxicillin", "ibuprofen", "metformin", "lisinopril", "omeprazole", "cetirizine", "salbutamol", "simvastatin",
    "sertraline", "naproxen", "ramipril", "bisoprolol", "levothyroxine", "pantoprazole", "tramadol", "doxycycline",
    "gabapentin", "warfarin", "prednisolone", "codeine",
)  # fmt: skip


def tables() -> Tables:
    """Return what the clinic knows; the same at each call."""
    covers, values = cycle((True, True, False)), cycle(("normal", "raised", "low", "pending"))
    appointments: list[Record] = [
        {
            "id": f"AP-{7012 + 13 * n}",
            "patient": _PATIENTS[n % len(_PATIENTS)],
            "doctor": f"Dr. {_DOCTORS[(3 * n + 1) % len(_DOCTORS)]}",
            "day": f"2027-05-{1 + n % 28:02d}",
            "time": f"{8 + n % 8:02d}:15",
            "status": "booked",
        }
        for n in range(48)
    ]
    return {
        "patients": [{"id": f"PT-{n}", "name": name, "covered": next(covers)} for n, name in enumerate(_PATIENTS, 880)],
        "doctors": [
            {"name": f"Dr. {name}", "specialty": _SPECIALTIES[n], "room": f"{n % 5 + 1}{n:02d}"}
            for n, name in enumerate(_DOCTORS)
        ],
        "departments": [
            {"name": name, "opens": f"{7 + n % 3:02d}:00", "closes": f"{15 + n % 5}:30"}
            for n, name in enumerate(_SPECIALTIES)
        ],
        "samples": [{"id": f"LAB-{55120 + 19 * n}", "value": next(values)} for n in range(40)],
        "appointments": appointments,
        "prescriptions": [],
        "medicines": [{"name": name} for name in _MEDICINES],
    }


class Clinic(Desk):
    """The front desk of the Eastgate clinic."""

    instructions = "You assist the front desk of the Eastgate clinic. Look things up and book with the tools."
    tool_names = (
        "find_free_slots", "list_appointments", "get_opening_hours", "find_doctor", "check_insurance",
        "get_test_result", "book_appointment", "remove_appointment", "shift_appointment", "request_prescription",
    )  # fmt: skip
    effects = frozenset(tool_names[6:])

    def find_free_slots(self, doctor: str, day: str) -> list[str]:
        """Find the free times of a doctor on a day.

        Args:
            doctor: Name of the doctor, with title.
            day: Day as YYYY-MM-DD.
        """
        self.find("doctors", name=doctor)
        taken = {row["time"] for row in self.tables["appointments"] if (row["doctor"], row["day"]) == (doctor, day)}
        first = sum(map(ord, doctor + day)) % 4
        return [time for time in (f"{8 + first + n:02d}:45" for n in range(3)) if time not in taken]

    def list_appointments(self, patient: str) -> list[str]:
        """List the numbers of a patient's appointments.

        Args:
            patient: Full name of the patient.
        """
        self.find("patients", name=patient)
        return [row["id"] for row in self.tables["appointments"] if row["patient"] == patient]

    def get_opening_hours(self, department: str) -> dict[str, str]:
        """Tell when a department opens and closes.

        Args:
            department: Name of the department.
        """
        found = self.find("departments", name=department)
        return {name: found[name] for name in ("opens", "closes")}

    def find_doctor(self, specialty: str) -> dict[str, str]:
        """Find the doctor for a specialty, and the room.

        Args:
            specialty: Name of the specialty.
        """
        found = self.find("doctors", specialty=specialty)
        return {name: found[name] for name in ("name", "room")}

    def check_insurance(self, patient: str) -> dict[str, bool | str]:
        """Check whether a patient's insurance covers the treatment.

        Args:
            patient: Full name of the patient.
        """
        found = self.find("patients", name=patient)
        return {"patient": found["id"], "covered": found["covered"]}

    def get_test_result(self, sample: str) -> str:
        """Get the result of a laboratory test.

        Args:
            sample: Number of the sample.
        """
        return f"sample {sample} is {self.find('samples', id=sample)['value']}"

    def book_appointment(self, patient: str, doctor: str, day: str, time: str) -> str:
        """Book an appointment for a patient.

        Args:
            patient: Full name of the patient.
            doctor: Name of the doctor, with title.
            day: Day as YYYY-MM-DD.
            time: Time as HH:MM.
        """
        who, whom = self.find("patients", name=patient)["name"], self.find("doctors", name=doctor)["name"]
        number = self.add("appointments", "AP", patient=who, doctor=whom, day=day, time=time, status="booked")
        return f"appointment {number} with {whom} is booked"

    def remove_appointment(self, appointment: str) -> str:
        """Cancel an appointment.

        Args:
            appointment: Number of the appointment.
        """
        found = self.find("appointments", id=appointment)
        if found["status"] == "cancelled":
            raise UnknownRecord(f"error: appointment {appointment} is cancelled already")
        found["status"] = "cancelled"
        return f"appointment {appointment} with {found['doctor']} is cancelled"

    def shift_appointment(self, appointment: str, day: str) -> str:
        """Move an appointment to another day.

        Args:
            appointment: Number of the appointment.
            day: New day as YYYY-MM-DD.
        """
        found = self.find("appointments", id=appointment)
        found["day"] = day
        return f"appointment {appointment} is at {found['time']} on {day}"

    def request_prescription(self, patient: str, medicine: str) -> str:
        """Request a prescription of a medicine for a patient.

        Args:
            patient: Full name of the patient.
            medicine: Name of the medicine.
        """
        who = self.find("patients", name=patient)
        what = self.find("medicines", name=medicine)["name"]
        number = self.add("prescriptions", "RX", patient=who["id"], medicine=what)
        return f"prescription {number} waits for a signature"
